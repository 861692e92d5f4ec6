"""The example shop fulfils its orders on ordinary workers, killed twice on the way, and its books add up."""

from __future__ import annotations

import csv
from pathlib import Path

import psycopg
import pytest

_ORDERS, _PRODUCTS = 300, 12


def _write(path: Path, head: str, *rows: tuple[object, ...]) -> str:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([head.split(), *rows])
    return str(path)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Orders of which some want more than there is, more than a card covers, or a discount that nobody may give."""
    products = [(n, f"product {n}", 150 + n, n % 2) for n in range(1, _PRODUCTS + 1)]
    orders = [(n, f"customer {n % 7}") for n in range(_ORDERS)]
    lines = []
    for n in range(_ORDERS):
        price, discount = "2000.00" if n % 11 == 0 else "9.99", "0.25" if n % 13 == 0 else "0.05"
        for line in range(1 + n % 3):
            product, units = (n * 5 + line * 3) % _PRODUCTS + 1, 1 + (n + line) % 9
            lines.append((n, product, price, units, discount))
    return [
        "--products",
        _write(tmp_path / "products.csv", "productID productName unitsInStock discontinued", *products),
        "--orders",
        _write(tmp_path / "orders.csv", "orderID customerID", *orders),
        "--lines",
        _write(tmp_path / "lines.csv", "orderID productID unitPrice quantity discount", *lines),
    ]


def test_the_books_of_the_example_shop_add_up_after_two_kills(files, store_url, redis_url, start_workers):
    workers = start_workers(QWIT_STORE_URL=store_url, SHOP_URL=store_url, REDIS_URL=redis_url)
    shop = workers.start_python("-m", "examples.orders", "--no-worker", *files)

    with psycopg.connect(store_url, autocommit=True) as connection:

        def effects() -> int:
            found = connection.execute("select to_regclass('shop.effect')").fetchone()
            if found is None or found[0] is None:
                return 0
            rows = connection.execute("select count(*) from shop.effect").fetchone()
            return rows[0] if rows is not None else 0

        for _ in range(2):
            group = workers.start(broker="examples.orders.app", threads=8)
            wanted = effects() + 100
            workers.until(lambda wanted=wanted: effects() >= wanted, "the shop is busy")
            group.kill()
            assert shop.running
        workers.start(broker="examples.orders.app", threads=8)
        workers.until(lambda: not shop.running, "all orders are done")

    assert shop.wait() == 0, shop.log
    assert "It adds up." in shop.log
    for why in ("OutOfStock", "CardDeclined", "InvoiceRefused"):
        assert why in shop.log
