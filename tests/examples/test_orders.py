from __future__ import annotations

import csv
import sqlite3
from contextlib import closing
from decimal import Decimal
from threading import Event
from time import monotonic

import pytest

from examples.orders.data import INPUT, InputError, line_cents, read_orders, read_products
from examples.orders.ledger import Ledger, OutOfStock
from tests.examples.programs import kill_group, run_module, running

_POLL_SECONDS = 0.01
_PATIENCE_SECONDS = 30


def write_csv(path, columns, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns.split())
        writer.writerows(rows)


@pytest.fixture
def many_orders(tmp_path):
    """Options that name files with 150 orders of four products, more than there is in stock of the first."""
    write_csv(tmp_path / "o.csv", "orderID customerID", [(n, "ANN") for n in range(150)])
    lines = [(n, 1 + (n + k) % 4, "2.50", 1 + n % 3, "0.05") for n in range(150) for k in range(3)]
    write_csv(tmp_path / "l.csv", "orderID productID unitPrice quantity discount", lines)
    products = [(1, "tea", 60, 0), (2, "mug", 900, 0), (3, "pot", 900, 1), (4, "jug", 900, 0)]
    write_csv(tmp_path / "p.csv", "productID productName unitsInStock discontinued", products)
    return ["--orders", "o.csv", "--lines", "l.csv", "--products", "p.csv"]


@pytest.fixture(params=["sqlite", "postgres"])
def shop(request, tmp_path):
    is_sqlite = request.param == "sqlite"
    made = Ledger(f"sqlite:///{tmp_path}/shop.db" if is_sqlite else request.getfixturevalue("postgres_url"))
    made.create(read_products(INPUT / "products.csv"))
    yield made
    made.close()


def stock_of(shop, product_id):
    return dict(shop.read("select id, stock from product"))[product_id]


# -- data ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "quantity", "discount", "cents"),
    [
        ("14.00", 12, "0", 16_800),
        ("0.05", 1, "0.5", 3),
        ("18.60", 9, "0.15", 14_229),
        ("9.99", 3, "0.1", 2_697),
    ],
)
def test_a_line_is_rounded_half_up_to_the_cent(price, quantity, discount, cents):
    assert line_cents(Decimal(price), quantity, Decimal(discount)) == cents


def test_an_order_costs_the_sum_of_its_rounded_lines():
    orders = {order.id: order for order in read_orders(INPUT / "orders.csv", INPUT / "lines.csv")}

    order = orders["1030"]

    assert len(orders) == 40
    assert [line.cents for line in order.lines] == [259_600, 12_341]
    assert order.cents == 271_941


def test_a_broken_file_is_told_by_its_name_and_line(tmp_path):
    write_csv(
        tmp_path / "products.csv",
        "productID productName unitsInStock discontinued",
        [("1", "tea", "many", "0")],
    )

    with pytest.raises(InputError, match=r"products\.csv, line 2: ValueError"):
        read_products(tmp_path / "products.csv")


# -- the shop --------------------------------------------------------------------------------------------------


def test_an_effect_is_made_once_by_its_key(shop):
    shop.take("key-1", "order-1", 1, 5)
    shop.take("key-1", "order-1", 1, 5)
    assert stock_of(shop, 1) == 55

    shop.put_back("key-2", "order-1", 1)
    shop.put_back("key-2", "order-1", 1)
    assert stock_of(shop, 1) == 60


def test_stock_is_not_sold_twice_and_a_refusal_leaves_no_trace(shop):
    with pytest.raises(OutOfStock):
        shop.take("key-1", "order-1", 1, 61)

    assert stock_of(shop, 1) == 60
    assert not shop.read("select key from effect")


def test_what_was_never_made_is_not_undone(shop):
    shop.put_back("key-1", "order-1", 1)
    shop.unmake("key-2", "refund", "charge", "order-1")

    assert stock_of(shop, 1) == 60
    assert not shop.read("select key from effect")


# -- the program -----------------------------------------------------------------------------------------------


def test_the_orders_of_the_example_add_up_and_a_second_run_changes_nothing(tmp_path):
    first = run_module("examples.orders", folder=tmp_path)
    second = run_module("examples.orders", folder=tmp_path)

    assert first.returncode == 0, first.stdout + first.stderr
    assert "It adds up." in first.stdout
    for cause in ("OutOfStock", "CardDeclined", "ParcelTooLarge", "InvoiceRefused"):
        assert cause in first.stdout
    assert second.stdout.partition("product ")[2] == first.stdout.partition("product ")[2]


def test_books_that_were_tampered_with_do_not_add_up(tmp_path):
    run_module("examples.orders", folder=tmp_path)
    with closing(sqlite3.connect(tmp_path / "shop.db")) as shop, shop:
        shop.execute("update product set stock = stock - 1 where id = 1")

    again = run_module("examples.orders", folder=tmp_path)

    assert again.returncode == 1
    assert "It does NOT add up." in again.stdout


def test_killed_in_the_middle_and_run_again_it_adds_up(tmp_path, many_orders):
    with running("examples.orders", *many_orders, folder=tmp_path) as process:
        wait_for_effects(tmp_path / "shop.db", 200, process)
        kill_group(process)
    assert open_runs(tmp_path / "orders.db") > 0

    again = run_module("examples.orders", *many_orders, folder=tmp_path)

    assert again.returncode == 0, again.stdout + again.stderr
    assert "150 orders" in again.stdout


def test_it_adds_up_on_workers_with_redis_and_postgres(tmp_path, postgres_url, redis_url):
    where = {"QWIT_STORE_URL": postgres_url, "SHOP_URL": postgres_url, "REDIS_URL": redis_url}

    with running("dramatiq", "examples.orders.app", "--processes", "1", folder=tmp_path, **where):
        done = run_module("examples.orders", "--no-worker", folder=tmp_path, **where)

    assert done.returncode == 0, done.stdout + done.stderr + (tmp_path / "output").read_text(encoding="utf-8")
    assert "It adds up." in done.stdout


def wait_for_effects(shop, enough, process):
    """Return when a shop has so many effects, which is in the middle."""
    until = monotonic() + _PATIENCE_SECONDS
    while monotonic() < until and process.poll() is None:
        if effects_of(shop) >= enough:
            return
        Event().wait(_POLL_SECONDS)
    pytest.fail("the shop did not get so far")


def effects_of(shop):
    with closing(sqlite3.connect(shop)) as connection:
        try:
            return connection.execute("select count(*) from effect").fetchone()[0]
        except sqlite3.OperationalError:  # its tables are not there yet
            return 0


def open_runs(store):
    with closing(sqlite3.connect(store)) as connection:
        return connection.execute("select count(*) from live").fetchone()[0]
