"""`qwit demo`: orders as sagas; half-way the process that does the work is killed, started again, and it adds up.

This process starts the runs and watches; `demo_worker` in a child process does the work; the store and the shop are
SQLite files in a temporary folder. `demo_shop` has the workflows.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from qwit_durable.app import Durable
from qwit_durable.cli.demo_shop import PRODUCTS, Order, Shop, demo_order, orders
from qwit_durable.client import Handle
from qwit_durable.clock import monotonic
from qwit_durable.core import Status

__all__ = ["run_demo"]

_GLANCE_SECONDS = 0.05
_PATIENCE_SECONDS = 60.0
_PAIRS = (("charge", "refund"), ("pack", "unpack"), ("send", "call back"))


@attrs.frozen(kw_only=True)
class _Kill:
    """What the kill interrupted."""

    pid: int
    after_seconds: float
    done: int
    in_the_middle: int


@attrs.frozen
class _Stock:
    """What became of a product."""

    product: str
    opening: int
    sold: int
    left: int


@attrs.frozen
class _Check:
    name: str
    expected: int
    found: int

    @property
    def holds(self) -> bool:
        return self.expected == self.found


@attrs.frozen(kw_only=True)
class _Report:
    """How it went. `repeated`: attempts that found their effect made already."""

    seconds: float
    kill: _Kill | None
    statuses: dict[str, int]
    repeated: int
    stock: list[_Stock]
    charged_cents: int
    refunded_cents: int
    checks: list[_Check]

    @property
    def adds_up(self) -> bool:
        return all(check.holds for check in self.checks)


def run_demo(console: Console, *, as_json: bool) -> int:
    """Play the demonstration.

    Args:
        console: Where it is shown.
        as_json: Show nothing but the outcome, as one JSON object.

    Returns:
        0 if everything adds up, else 1.
    """
    with tempfile.TemporaryDirectory(prefix="qwit-demo-", ignore_cleanup_errors=True) as folder:
        screen = Console(quiet=True) if as_json else console
        report = _Demo(screen, Path(folder)).play()
    if as_json:
        console.print_json(json.dumps({"adds_up": report.adds_up, **attrs.asdict(report)}))
    else:
        _show(console, report)
    return 0 if report.adds_up else 1


class _Demo:
    def __init__(self, console: Console, folder: Path) -> None:
        self._console = console
        self._folder = folder
        self._store = f"sqlite:///{folder / 'qwit.db'}"
        self._shop = Shop(folder)
        self._orders = orders()
        self._began = monotonic()

    def play(self) -> _Report:
        """Start the orders, kill the worker half-way, start it again, wait, and compare."""
        self._shop.create()
        durable = Durable(self._store)
        try:
            runs = [durable.start(demo_order.options(id=f"order-{o.id}"), o) for o in self._orders]
            self._say(f"{len(runs)} orders are stored as runs of a workflow. Nobody works on them yet.")
            with self._progress() as progress:
                kill = self._work_until(runs, progress, len(runs) // 2)
                self._work_until(runs, progress, len(runs))
            statuses = [handle.status() for handle in runs]
        finally:
            durable.close()
        return _reconcile(self._shop, self._orders, statuses, kill, self._seconds())

    def _work_until(self, runs: Sequence[Handle[int]], progress: _Progress, enough: int) -> _Kill | None:
        """Have a process work until so many runs have ended; kill it, unless these are all."""
        process = subprocess.Popen(  # noqa: S603 - our own module, by our own interpreter
            [sys.executable, "-m", "qwit_durable.cli.demo_worker", self._store],
            stdin=subprocess.PIPE,
            env=Shop.environment(self._folder),
        )
        try:
            self._say(f"Process {process.pid} works on them.")
            deadline = monotonic() + _PATIENCE_SECONDS
            while (done := progress.update(runs)) < enough and monotonic() < deadline:
                with suppress(subprocess.TimeoutExpired):
                    code = process.wait(_GLANCE_SECONDS)
                    self._say(f"Process {process.pid} has ended by itself, with code {code}.")
                    return None
            if done == len(runs):
                process.communicate()
                return None
            process.kill()
        finally:
            process.kill()
            process.communicate()
        return self._killed(process.pid, runs)

    def _killed(self, pid: int, runs: Sequence[Handle[int]]) -> _Kill:
        open_ids = {
            o.id for o, handle in zip(self._orders, runs, strict=True) if not handle.status().is_ended
        }
        touched = {row[0] for row in self._shop.read("select distinct order_id from effect")}
        middle = len(open_ids & touched)
        done = len(runs) - len(open_ids)
        untouched = len(open_ids) - middle
        self._say(
            f"kill -9 {pid}: {done} orders are done, {middle} are in the middle, {untouched} have not begun.",
            style="bold red",
        )
        return _Kill(pid=pid, after_seconds=round(self._seconds(), 2), done=done, in_the_middle=middle)

    def _seconds(self) -> float:
        return monotonic() - self._began

    def _say(self, text: str, style: str | None = None) -> None:
        self._console.print(f"{self._seconds():5.1f} s  {text}", style=style, highlight=False, soft_wrap=True)

    @contextmanager
    def _progress(self) -> Generator[_Progress]:
        if self._console.is_terminal:
            columns = (
                TextColumn("  done"),
                BarColumn(24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[statuses]}"),
            )
            with Progress(*columns, console=self._console) as bar:
                yield _Progress(bar)
        else:
            yield _Progress(None)


class _Progress:
    """How many of the runs have ended, as a bar where there is a terminal."""

    def __init__(self, bar: Progress | None) -> None:
        self._bar = bar
        self._task = bar.add_task("orders", total=None, statuses="") if bar is not None else None

    def update(self, runs: Sequence[Handle[int]]) -> int:
        """Look at the runs, show how far they are, and tell how many have ended."""
        statuses = Counter(handle.status() for handle in runs)
        done = sum(count for status, count in statuses.items() if status.is_ended)
        if self._bar is not None and self._task is not None:
            text = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
            self._bar.update(self._task, total=len(runs), completed=done, statuses=text)
        return done


# -- does it add up? -------------------------------------------------------------------------------------------


def _reconcile(
    shop: Shop, orders_: Sequence[Order], statuses: Sequence[Status], kill: _Kill | None, seconds: float
) -> _Report:
    """Compare what follows from the orders and their runs with what the shop's books say."""
    completed = [order for order, status in zip(orders_, statuses, strict=True) if status is Status.COMPLETED]
    sold: Counter[str] = Counter()
    for order in completed:
        for product, units in order.lines:
            sold[product] += units
    left = {row[0]: row[2] for row in shop.read("select name, opening, stock from product")}
    books = shop.read("select kind, count(*), sum(cents) from effect group by kind")
    made = Counter({kind: count for kind, count, _ in books})
    cents = Counter({kind: total for kind, _, total in books})
    lasting = {of: made[of] - made[undo] for of, undo in _PAIRS}
    open_runs = sum(not status.is_ended for status in statuses)
    return _Report(
        seconds=round(seconds, 2),
        kill=kill,
        statuses=dict(sorted(Counter(str(status) for status in statuses).items())),
        repeated=shop.read("select 'all', count(*), 0 from effect where attempts > 1")[0][1],
        stock=[_Stock(name, opening, sold[name], left[name]) for name, _, opening in PRODUCTS],
        charged_cents=cents["charge"],
        refunded_cents=cents["refund"],
        checks=[
            _Check("orders without an end", 0, open_runs),
            _Check("workers killed", 1, 0 if kill is None else 1),
            *(
                _Check(f"{name} left in stock", opening - sold[name], left[name])
                for name, _, opening in PRODUCTS
            ),
            _Check(
                "cents charged - refunded", sum(o.cents for o in completed), cents["charge"] - cents["refund"]
            ),
            *(_Check(f"{of} - {undo}", len(completed), lasting[of]) for of, undo in _PAIRS),
            _Check("invoices", len(completed), made["invoice"]),
        ],
    )


_MEANING = {
    "completed": "everything was done, once",
    "compensated": "something failed: all that was done is undone",
    "failed": "the first step failed: there was nothing to undo",
}


def _show(console: Console, report: _Report) -> None:
    console.print()
    runs = Table("runs", "", "", box=None, title_justify="left", padding=(0, 2, 0, 0))
    for status, count in report.statuses.items():
        runs.add_row(status, str(count), _MEANING.get(status, ""))
    console.print(runs, "", sep="\n")
    stock = Table("product", "opening", "sold", "left", box=None, padding=(0, 2, 0, 0))
    for row in report.stock:
        stock.add_row(row.product, str(row.opening), str(row.sold), str(row.left))
    console.print(stock)
    kept = report.charged_cents - report.refunded_cents
    console.print(
        f"\npayments: {report.charged_cents / 100:.2f} charged - {report.refunded_cents / 100:.2f} refunded"
        f" = {kept / 100:.2f} kept",
        highlight=False,
        soft_wrap=True,
    )
    console.print(
        f"attempts that repeated an effect and were told so by its idempotency key: {report.repeated}",
        soft_wrap=True,
    )
    for check in report.checks:
        if not check.holds:
            console.print(
                f"WRONG {check.name}: expected {check.expected}, found {check.found}", style="bold red"
            )
    verdict = "It adds up." if report.adds_up else "It does not add up."
    style = "bold green" if report.adds_up else "bold red"
    console.print(f"\n{verdict} {report.seconds:.1f} s in all.", style=style, highlight=False)
