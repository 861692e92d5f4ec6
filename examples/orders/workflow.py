"""The saga of an order: take its goods, charge the customer, ship, invoice.

Whatever fails, everything before it is undone, the newest first. All undos here are `when="attempted"`: an attempt
whose worker died may have had its effect, so its undo looks whether there is something to undo.
"""

from __future__ import annotations

from decimal import Decimal

import attrs

from examples.orders.data import Order
from examples.orders.ledger import OutOfStock, shop
from qwit_durable import Retry, Workflow, current, step, workflow

#: What the card company lets a customer pay at once.
CARD_LIMIT_CENTS = 250_000
#: What a courier carries.
PARCEL_LIMIT_UNITS = 150
#: From this discount on the books want a signature, and nobody is here to sign.
LARGEST_DISCOUNT = Decimal("0.25")


class CardDeclined(Exception):
    """The customer's card does not cover the order."""


class ParcelTooLarge(Exception):
    """The courier does not take the parcel."""


class InvoiceRefused(Exception):
    """The books do not take the invoice."""


@attrs.frozen
class Receipt:
    order_id: str
    cents: int
    courier: str


@step(retry=Retry(give_up_on=(OutOfStock,)))
def reserve(order_id: str, product_id: int, units: int) -> None:
    shop().take(current().idempotency_key, order_id, product_id, units)


@reserve.undo(when="attempted")
def put_back(order_id: str, product_id: int) -> None:
    shop().put_back(current().idempotency_key, order_id, product_id)


@step(retry=Retry(give_up_on=(CardDeclined,)))
def charge(order_id: str, cents: int) -> None:
    if cents > CARD_LIMIT_CENTS:
        raise CardDeclined(f"order {order_id}: {cents / 100:.2f} is over the limit")
    shop().make(current().idempotency_key, "charge", order_id, cents=cents)


@charge.undo(when="attempted")
def refund(order_id: str) -> None:
    shop().unmake(current().idempotency_key, "refund", "charge", order_id)


@step
def book_courier(order_id: str) -> str:
    shop().make(current().idempotency_key, "courier", order_id)
    return f"courier-{order_id}"


@book_courier.undo(when="attempted")
def cancel_courier(order_id: str) -> None:
    shop().unmake(current().idempotency_key, "courier cancelled", "courier", order_id)


@step(retry=Retry(give_up_on=(ParcelTooLarge,)))
def print_label(order_id: str, units: int) -> None:
    if units > PARCEL_LIMIT_UNITS:
        raise ParcelTooLarge(f"order {order_id}: {units} units")
    shop().make(current().idempotency_key, "label", order_id, units=units)


@print_label.undo(when="attempted")
def void_label(order_id: str) -> None:
    shop().unmake(current().idempotency_key, "label voided", "label", order_id)


@step(retry=Retry(give_up_on=(InvoiceRefused,)))
def invoice(order_id: str, cents: int, discount: Decimal) -> None:
    if discount >= LARGEST_DISCOUNT:
        raise InvoiceRefused(f"order {order_id}: a discount of {discount:%} wants a signature")
    shop().make(current().idempotency_key, "invoice", order_id, cents=cents)


@workflow
def ship(order_id: str, units: int) -> Workflow[str]:
    courier = yield from book_courier(order_id)
    yield from print_label(order_id, units)
    return courier


@workflow
def fulfil(order: Order) -> Workflow[Receipt]:
    for line in order.lines:
        yield from reserve(order.id, line.product_id, line.quantity)
    yield from charge(order.id, order.cents)
    courier = yield from ship(order.id, order.units)
    yield from invoice(order.id, order.cents, max(line.discount for line in order.lines))
    return Receipt(order.id, order.cents, courier)
