"""`python -m examples.orders`: fulfil the orders of some CSV files, then see whether it adds up."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from time import perf_counter

from examples.orders.data import INPUT, InputError, Order, read_orders, read_products
from examples.orders.ledger import ledger
from examples.orders.reconciliation import reconcile
from examples.orders.workflow import fulfil
from qwit_durable import Durable, RunFailed, RunStuck, Status


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.orders", description=__doc__)
    parser.add_argument("--orders", type=Path, default=INPUT / "orders.csv", metavar="FILE")
    parser.add_argument("--lines", type=Path, default=INPUT / "lines.csv", metavar="FILE")
    parser.add_argument("--products", type=Path, default=INPUT / "products.csv", metavar="FILE")
    parser.add_argument(
        "--store", default=os.environ.get("QWIT_STORE_URL", "sqlite:///orders.db"), metavar="URL"
    )
    parser.add_argument("--shop", default=os.environ.get("SHOP_URL", "sqlite:///shop.db"), metavar="URL")
    parser.add_argument("--threads", type=int, default=8, metavar="N")
    parser.add_argument(
        "--no-worker",
        action="store_true",
        help="start the runs, wait, and leave the work to workers elsewhere",
    )
    options = parser.parse_args(arguments)
    try:
        products = read_products(options.products)
        orders = read_orders(options.orders, options.lines)
    except InputError as error:
        parser.error(str(error))

    os.environ["SHOP_URL"] = options.shop
    shop = ledger(options.shop)
    shop.create(products)
    began = perf_counter()
    with _durable(options.store, options.threads, no_worker=options.no_worker) as durable:
        statuses = run_all(durable, orders)
    print(f"{len(orders)} orders in {perf_counter() - began:.1f} s")
    outcome = reconcile(shop, products, orders, statuses)
    shop.close()
    print(outcome)
    return 0 if outcome.adds_up else 1


def _durable(store: str, threads: int, *, no_worker: bool) -> AbstractContextManager[Durable]:
    if not no_worker:
        return Durable(store, migrate=True).embedded(threads=threads)
    if "REDIS_URL" in os.environ:
        os.environ["QWIT_STORE_URL"] = store
        from examples.orders.app import durable

        return nullcontext(durable)
    # Without a broker the workers' sweep finds the runs, a moment later.
    return nullcontext(Durable(store, migrate=True))


def run_all(durable: Durable, orders: Sequence[Order]) -> dict[str, Status]:
    """Start every order and wait for all. The run of an order has the order's id, so no order is started twice."""
    handles = {o.id: durable.start(fulfil.options(id=f"order-{o.id}"), o) for o in orders}
    failures: Counter[str] = Counter()
    for handle in handles.values():
        try:
            handle.result()
        except RunStuck as stuck:
            failures["stuck"] += 1
            print(stuck, file=sys.stderr)
        except RunFailed as failed:
            failures[failed.cause.root.type if failed.cause else "unknown"] += 1
    print(
        "failed because of:",
        ", ".join(f"{why} {count}" for why, count in failures.most_common()) or "nothing",
    )
    return {order_id: handle.status() for order_id, handle in handles.items()}


if __name__ == "__main__":
    sys.exit(main())
