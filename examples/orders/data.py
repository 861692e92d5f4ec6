"""Orders from CSV files: what is asked for, and what it costs.

An amount is computed once, here, and is a whole number of cents from then on: a line costs
`unitPrice * quantity * (1 - discount)`, multiplied exactly as decimals and rounded half up to the cent; an order costs
the sum of its rounded lines.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Iterator
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import TypeVar

import attrs

T = TypeVar("T")

#: The input that comes with the example: orders.csv, lines.csv, products.csv.
INPUT = Path(__file__).parent / "input"


@attrs.frozen
class Product:
    """`discontinued` ones are not bought again, so they are sold while stock lasts, as all others are here."""

    id: int
    name: str
    opening_units: int
    discontinued: bool


@attrs.frozen
class Line:
    product_id: int
    quantity: int
    discount: Decimal
    cents: int


@attrs.frozen
class Order:
    id: str
    customer_id: str
    lines: tuple[Line, ...]

    @property
    def cents(self) -> int:
        return sum(line.cents for line in self.lines)

    @property
    def units(self) -> int:
        return sum(line.quantity for line in self.lines)


class InputError(ValueError):
    """A file can't be read as what it should be; the message names file and line."""


def line_cents(unit_price: Decimal, quantity: int, discount: Decimal) -> int:
    """What a line costs, in cents, as the module says."""
    amount = unit_price * quantity * (1 - discount) * 100
    return int(amount.to_integral_value(ROUND_HALF_UP))


def read_products(path: Path) -> list[Product]:
    """Columns: productID, productName, unitsInStock, discontinued (0 or 1)."""

    def read(row: dict[str, str]) -> Product:
        return Product(
            id=int(row["productID"]),
            name=row["productName"],
            opening_units=int(row["unitsInStock"]),
            discontinued=row["discontinued"] == "1",
        )

    return list(_rows(path, read))


def read_orders(orders: Path, lines: Path) -> list[Order]:
    """Columns: orderID, customerID of the orders; orderID, productID, unitPrice, quantity, discount of the lines.

    An order without lines is left out: there is nothing to do for it.
    """

    def read(row: dict[str, str]) -> tuple[str, Line]:
        quantity, discount = int(row["quantity"]), Decimal(row["discount"])
        cents = line_cents(Decimal(row["unitPrice"]), quantity, discount)
        return row["orderID"], Line(int(row["productID"]), quantity, discount, cents)

    of_order: dict[str, list[Line]] = defaultdict(list)
    for order_id, line in _rows(lines, read):
        of_order[order_id].append(line)
    heads = _rows(orders, lambda row: (row["orderID"], row["customerID"]))
    return [Order(order, customer, tuple(of_order[order])) for order, customer in heads if order in of_order]


def _rows(path: Path, read: Callable[[dict[str, str]], T]) -> Iterator[T]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            try:
                yield from map(read, rows)
            except (KeyError, ValueError, ArithmeticError) as error:
                raise InputError(f"{path}, line {rows.line_num}: {type(error).__name__}: {error}") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
