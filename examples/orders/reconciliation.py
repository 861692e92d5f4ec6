"""Does it add up? The shop's books against the orders and how their runs ended.

The two sides know nothing of each other: what was sold follows from the input and the runs' statuses, what happened
from the shop's effects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import attrs

from examples.orders.data import Order, Product
from examples.orders.ledger import Ledger
from qwit_durable import Status

#: Which effects undo which.
_PAIRS = (
    ("take", "put back"),
    ("charge", "refund"),
    ("courier", "courier cancelled"),
    ("label", "label voided"),
)
_UNDONE_BUT_NOT_MADE = (
    "select 1 from effect u where kind = '{undone}' and not exists (select 1 from effect m"
    " where m.kind = '{made}' and m.order_id = u.order_id and m.product_id = u.product_id)"
)


@attrs.frozen
class Check:
    text: str
    expected: object
    found: object

    @property
    def holds(self) -> bool:
        return self.expected == self.found

    def __str__(self) -> str:
        mark = "ok   " if self.holds else "WRONG"
        other = "" if self.holds else f", expected {self.expected}"
        return f"{mark} {self.text}: {self.found}{other}"


@attrs.frozen
class Reconciliation:
    statuses: Mapping[Status, int]
    stock: Sequence[tuple[Product, int, int]]
    checks: Sequence[Check]

    @property
    def adds_up(self) -> bool:
        return all(check.holds for check in self.checks)

    def __str__(self) -> str:
        rows = [f"{'product':34} {'opening':>8} {'sold':>6} {'left':>6}"]
        rows += [f"{p.name[:34]:34} {p.opening_units:>8} {sold:>6} {left:>6}" for p, sold, left in self.stock]
        counts = ", ".join(f"{status} {count}" for status, count in sorted(self.statuses.items()))
        verdict = "It adds up." if self.adds_up else "It does NOT add up."
        return "\n".join([*rows, "", f"runs: {counts}", *map(str, self.checks), verdict])


def reconcile(
    ledger: Ledger, products: Sequence[Product], orders: Sequence[Order], statuses: Mapping[str, Status]
) -> Reconciliation:
    """Compare the shop with its orders. `statuses` says by order id how each run ended."""
    counts = Counter(statuses.values())
    completed = [order for order in orders if statuses[order.id] is Status.COMPLETED]
    sold: Counter[int] = Counter()
    for order in completed:
        for line in order.lines:
            sold[line.product_id] += line.quantity
    left = {row[0]: row[1] for row in ledger.read("select id, stock from product")}
    stock = [(product, sold[product.id], left[product.id]) for product in products]
    effects = ledger.read("select kind, count(*), sum(units), sum(cents) from effect group by kind")
    units = {kind: int(total) for kind, _, total, _ in effects}
    cents = {kind: int(total) for kind, _, _, total in effects}
    made = {kind: count for kind, count, _, _ in effects}
    twice = ledger.read("select 1 from effect group by kind, order_id, product_id having count(*) > 1")
    unmade = sum(len(ledger.read(_UNDONE_BUT_NOT_MADE.format(made=of, undone=undo))) for of, undo in _PAIRS)
    unequal = sum(product.opening_units - gone != here for product, gone, here in stock)
    lasting = {of: made.get(of, 0) - made.get(undo, 0) for of, undo in _PAIRS}
    return Reconciliation(
        counts,
        stock,
        [
            Check("orders that are neither completed nor compensated", 0, _others(counts)),
            Check("products whose opening - sold is not what is left", 0, unequal),
            Check("products with stock below zero", 0, sum(here < 0 for _, _, here in stock)),
            Check("units taken - put back", sold.total(), units.get("take", 0) - units.get("put back", 0)),
            Check(
                "cents charged - refunded",
                sum(order.cents for order in completed),
                cents.get("charge", 0) - cents.get("refund", 0),
            ),
            Check("couriers booked - cancelled", len(completed), lasting["courier"]),
            Check("labels printed - voided", len(completed), lasting["label"]),
            Check("invoices", len(completed), made.get("invoice", 0)),
            Check("effects made twice", 0, len(twice)),
            Check("undos of what was never made", 0, unmade),
        ],
    )


def _others(counts: Mapping[Status, int]) -> int:
    return sum(n for status, n in counts.items() if status not in {Status.COMPLETED, Status.COMPENSATED})
