"""Writes the saved histories of the examples, one file for each run: `python -m tests.examples.histories`.

They are kept for ever: today's examples must fit what yesterday's have recorded. Files that are there stay as they are;
after a change that is no longer to fit, remove a file and write it anew.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from qwit_durable.client.handle import Handle
from qwit_durable.core import Status
from qwit_durable.registry import default_registry
from qwit_durable.testing.environment import Environment
from qwit_durable.testing.replay import save_history

FOLDER = Path(__file__).parents[1] / "histories"
#: The module that has an example's workflows.
MODULES = {
    "approval": "examples.approval.workflow",
    "callback": "examples.callback.workflow",
    "flows": "examples.flows.work",
    "nested": "examples.nested.workflow",
    "orders": "examples.orders.workflow",
    "workers": "examples.workers.app",
}


@contextmanager
def environment() -> Iterator[Environment]:
    with default_registry.restored(), Environment() as made:
        yield made


def rest(made: Environment, days: float = 0) -> None:
    made.settle(until=made.clock.now() + timedelta(days=days, seconds=5))


def approval(made: Environment, example: Any) -> Iterator[tuple[str, Handle[Any]]]:
    lunch = example.Expense("lunch", 1_250)
    paid = made.start(example.expense.options(id="paid"), lunch)
    paid.signal("decision", example.Decision(approved=True, by="Ann"))
    made.start(example.expense.options(id="withdrawn"), lunch)
    made.settle()
    made.start(example.expense.options(id="waiting"), lunch)
    rest(made)
    yield from ((key, made.get(key)) for key in ("paid", "withdrawn", "waiting"))


def callback(made: Environment, example: Any) -> Iterator[tuple[str, Handle[Any]]]:
    made.start(example.purchase.options(id="approved"), "chair", 12_000)
    rest(made)
    made.complete(example.outbox[0].token, example.Approval("ann", "of course"))
    made.start(example.purchase.options(id="refused"), "yacht", 90_000_000)
    rest(made)
    made.fail(example.outbox[1].token, example.refusal("ann"))
    made.start(example.purchase.options(id="waiting"), "table", 40_000)
    rest(made)
    yield from ((key, made.get(key)) for key in ("approved", "refused", "waiting"))


def flows(made: Environment, example: Any) -> Iterator[tuple[str, Handle[Any]]]:
    state = {"order": "tea", "cents": 900, "currency": "CHF", "address": "Elm Street 3"}
    made.start(example.order.options(id="sent"), state).signal("Pay", "card 4242")
    lost = made.start(example.order.options(id="lost"), {**state, "order": "pot", "address": "nowhere"})
    lost.signal("Pay", "card 4242")
    rest(made)
    lost.signal("Pay.rollback", "booked")
    rest(made)
    yield from ((key, made.get(key)) for key in ("sent", "lost"))


def nested(made: Environment, example: Any) -> Iterator[tuple[str, Handle[Any]]]:
    made.start(example.holiday.options(id="taken"), "Lisbon", 200_000)
    made.start(example.holiday.options(id="refused"), "Oslo", 100_000)
    rest(made)
    yield from ((key, made.get(key)) for key in ("taken", "refused"))
    (travel,) = made.runs(workflow="travel", status=Status.COMPENSATED, limit=1)
    yield "refused-travel", made.get(travel.id)


def orders(made: Environment, example: Any) -> Iterator[tuple[str, Handle[Any]]]:
    from examples.orders.data import INPUT, read_orders, read_products
    from examples.orders.ledger import ledger

    with TemporaryDirectory() as folder:
        os.environ["SHOP_URL"] = f"sqlite:///{folder}/shop.db"
        shop = ledger(os.environ["SHOP_URL"])
        shop.create(read_products(INPUT / "products.csv"))
        for order in read_orders(INPUT / "orders.csv", INPUT / "lines.csv"):
            made.start(example.fulfil.options(id=order.id), order)
        rest(made)
        for status in (Status.COMPLETED, Status.COMPENSATED):
            for workflow in ("fulfil", "ship"):
                (run,) = made.runs(workflow=workflow, status=status, limit=1)
                yield f"{workflow}-{status}", made.get(run.id)
        shop.close()


def workers(made: Environment, example: Any) -> Iterator[tuple[str, Handle[Any]]]:
    made.start(example.count.options(id="counted"), ["two words", "and three more"])
    rest(made)
    yield "counted", made.get("counted")


def write(name: str) -> None:
    """Write what is not there yet of one example."""
    with environment() as made:
        example = import_module(MODULES[name])
        for key, handle in globals()[name](made, example):
            path = FOLDER / f"{name}-{key}.json"
            if not path.exists():
                path.write_text(save_history(handle), encoding="utf-8")
                sys.stdout.write(f"{path.name} {handle.status()}\n")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for one in sys.argv[1:] or MODULES:
        write(one)
