"""What `qwit demo` works on: a small shop whose orders are sagas with a sub-workflow.

The shop's database is the outside world. Each effect is made once by its idempotency key, and every step takes its
time *after* its effect, so that a kill lands where it hurts: the effect has happened, its checkpoint is not written.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import attrs

from qwit_durable.core import Retry
from qwit_durable.language import Workflow, current, step, workflow

__all__ = ["CARD_LIMIT_CENTS", "PRODUCTS", "Order", "Shop", "demo_order", "orders"]

#: Name, price in cents, opening stock.
PRODUCTS = (("coffee", 1_850, 40), ("tea", 420, 60), ("mug", 999, 30), ("tea pot", 3_400, 14))
CARD_LIMIT_CENTS = 20_000
#: How long a step takes: so long that a person can watch.
_STEP_SECONDS = float(os.environ.get("QWIT_DEMO_STEP_SECONDS", "0.12"))
_BUSY_SECONDS = 10
_FOLDER = "QWIT_DEMO_FOLDER"
_SCHEMA = """
    create table product (name text primary key, opening integer not null, stock integer not null check (stock >= 0));
    create table effect (key text primary key, kind text not null, order_id integer not null,
        product text not null, units integer not null, cents integer not null, attempts integer not null default 1);
"""


class OutOfStockError(Exception):
    """Less is left than the order wants."""


class CardDeclinedError(Exception):
    """The card does not cover the order."""


class NoCourierError(Exception):
    """Nobody drives to that address."""


class InvoiceRefusedError(Exception):
    """The customer has no letter box."""


@attrs.frozen
class Order:
    """One order."""

    id: int
    lines: tuple[tuple[str, int], ...]
    address: str

    @property
    def cents(self) -> int:
        """What it costs."""
        prices = {name: cents for name, cents, _ in PRODUCTS}
        return sum(prices[name] * units for name, units in self.lines)


def orders() -> list[Order]:
    """The same orders every time: some are too dear, some go too far, and in the end there is not enough in stock."""
    made: list[Order] = []
    for number in range(1, 31):
        first, second = PRODUCTS[number % 4][0], PRODUCTS[(number + 1 + number % 2) % 4][0]
        units = 9 if number % 9 == 0 else 1 + number % 3
        address = "an island" if number % 7 == 0 else "a boat" if number % 13 == 0 else "the town"
        made.append(Order(number, ((first, units), (second, 2)), address))
    return made


# -- the shop's own database -----------------------------------------------------------------------------------


class Shop:
    """The shop in a folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "shop.db"

    @classmethod
    def here(cls) -> Shop:
        """The shop of the worker process that this is."""
        return cls(Path(os.environ[_FOLDER]))

    @staticmethod
    def environment(folder: Path) -> dict[str, str]:
        """What a worker process is told."""
        return {**os.environ, _FOLDER: str(folder)}

    def create(self) -> None:
        """Open for business."""
        with closing(self._connect()) as connection:
            connection.execute("pragma journal_mode = wal")
            connection.executescript(_SCHEMA)
            stock = [(name, opening, opening) for name, _, opening in PRODUCTS]
            connection.executemany("insert into product values (?, ?, ?)", stock)

    def read(self, sql: str) -> list[tuple[str, int, int]]:
        """The rows of a query."""
        with closing(self._connect()) as connection:
            return connection.execute(sql).fetchall()

    @contextmanager
    def effect(
        self, kind: str, order_id: int, *, product: str = "", units: int = 0, cents: int = 0
    ) -> Generator[sqlite3.Connection | None]:
        """A transaction that notes an effect under the attempt's idempotency key; None where it was made before."""
        with closing(self._connect()) as connection:
            connection.execute("begin immediate")
            noted = connection.execute(
                "insert into effect (key, kind, order_id, product, units, cents) values (?, ?, ?, ?, ?, ?)"
                " on conflict (key) do update set attempts = attempts + 1 returning attempts",
                (current().idempotency_key, kind, order_id, product, units, cents),
            ).fetchone()
            yield connection if noted[0] == 1 else None
            connection.execute("commit")

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)


def _take_time() -> None:
    # As a slow service would; it is what there is to watch.
    time.sleep(_STEP_SECONDS)


# -- steps -----------------------------------------------------------------------------------------------------


@step(name="demo_reserve", retry=Retry(give_up_on=(OutOfStockError,)))
def reserve(order_id: int, product: str, units: int) -> None:
    """Take units from the stock."""
    with Shop.here().effect("take", order_id, product=product, units=units) as shop:
        sql = "update product set stock = stock - ? where name = ? and stock >= ?"
        if shop is not None and not shop.execute(sql, (units, product, units)).rowcount:
            raise OutOfStockError(product)
    _take_time()


@reserve.undo
def put_back(order_id: int, product: str, units: int) -> None:
    """Put them back."""
    with Shop.here().effect("put back", order_id, product=product, units=units) as shop:
        if shop is not None:
            shop.execute("update product set stock = stock + ? where name = ?", (units, product))
    _take_time()


@step(name="demo_charge", retry=Retry(give_up_on=(CardDeclinedError,)))
def charge(order_id: int, cents: int) -> None:
    """Take the customer's money."""
    if cents > CARD_LIMIT_CENTS:
        raise CardDeclinedError(f"{cents / 100:.2f}")
    with Shop.here().effect("charge", order_id, cents=cents):
        pass
    _take_time()


@charge.undo
def refund(order_id: int, cents: int) -> None:
    """Give it back."""
    with Shop.here().effect("refund", order_id, cents=cents):
        pass
    _take_time()


@step(name="demo_pack")
def pack(order_id: int) -> None:
    """Pack a parcel."""
    with Shop.here().effect("pack", order_id):
        pass
    _take_time()


@pack.undo
def unpack(order_id: int) -> None:
    """Unpack it."""
    with Shop.here().effect("unpack", order_id):
        pass
    _take_time()


@step(name="demo_send", retry=Retry(give_up_on=(NoCourierError,)))
def send(order_id: int, address: str) -> None:
    """Give it to a courier."""
    if address == "an island":
        raise NoCourierError(address)
    with Shop.here().effect("send", order_id):
        pass
    _take_time()


@send.undo
def call_back(order_id: int) -> None:
    """Call the courier back."""
    with Shop.here().effect("call back", order_id):
        pass
    _take_time()


@step(name="demo_invoice", retry=Retry(give_up_on=(InvoiceRefusedError,)))
def invoice(order_id: int, address: str) -> None:
    """Send the invoice: nothing can fail after it."""
    if address == "a boat":
        raise InvoiceRefusedError(address)
    with Shop.here().effect("invoice", order_id):
        pass
    _take_time()


# -- workflows -------------------------------------------------------------------------------------------------


@workflow(name="demo_ship")
def ship(order_id: int, address: str) -> Workflow[None]:
    """Pack, then send."""
    yield from pack(order_id)
    yield from send(order_id, address)


@workflow(name="demo_order")
def demo_order(order: Order) -> Workflow[int]:
    """Take the goods, charge, ship, send the invoice."""
    for product, units in order.lines:
        yield from reserve(order.id, product, units)
    yield from charge(order.id, order.cents)
    yield from ship(order.id, order.address)
    yield from invoice(order.id, order.address)
    return order.cents
