"""What `qwit doctor` looks at: the installation, the store, its workers, and runs that stand still for a bad reason."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from importlib import metadata, util
from typing import Literal

import attrs
import click

from qwit_durable.cli.place import Place
from qwit_durable.client.when import When, span_text
from qwit_durable.client.workers import Workers
from qwit_durable.clock import SystemClock
from qwit_durable.core import OPEN, Status
from qwit_durable.errors import DurableError
from qwit_durable.stores.protocol import Reader, RunQuery
from qwit_durable.stores.rows import RunView

__all__ = ["Check", "check_all"]

_PACKAGE = "qwit-durable"
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*>=\s*([\d.]+)")
_BROKERS = (("Redis", "redis", "redis"), ("RabbitMQ", "pika", "qwit-durable[rabbitmq]"))
_OPEN_RUNS_LOOKED_AT = 1_000
_NAMED = 5
_LATE = timedelta(seconds=30)
_CLOCKS_APART = timedelta(seconds=2)
_NEEDS_WORKERS = (Status.SCHEDULED, Status.RUNNING, Status.COMPENSATING)


@attrs.frozen
class Check:
    """One thing that was looked at. `failed` is wrong now; `warning` will mend itself, or may matter to you."""

    name: str
    verdict: Literal["ok", "warning", "failed"]
    found: str
    remedy: str = ""


def check_all(place: Place) -> list[Check]:
    """Everything that can be checked; where the store can't be read, only what does not need it."""
    checks = [_python(), _packages(), _broker()]
    try:
        place.check_exists()
        checks.append(_schema(place))
        if checks[-1].verdict != "failed":
            reader = place.durable.reader
            checks.append(_clock(place, reader))
            checks.extend(_runs(place, reader))
    except click.ClickException as error:
        checks.append(Check("store", "failed", error.format_message()))
    except DurableError as error:
        checks.append(Check("store", "failed", " ".join(str(error).split()), "see what the message says"))
    return checks


# -- the installation ------------------------------------------------------------------------------------------


def _python() -> Check:
    return Check("python", "ok", f"{platform.python_implementation()} {platform.python_version()}")


def _packages() -> Check:
    found: list[str] = []
    old: list[str] = []
    for line in metadata.requires(_PACKAGE) or ():
        requirement = _REQUIREMENT.match(line)
        if requirement is None or "extra ==" in line:
            continue
        name, least = requirement.groups()
        try:
            here = metadata.version(name)
        except metadata.PackageNotFoundError:
            here = "missing"
        found.append(f"{name} {here}")
        if _numbers(here) < _numbers(least):
            old.append(f"{name} {here}, needed is {least}")
    listed = f"{_PACKAGE} {metadata.version(_PACKAGE)}, {', '.join(found)}"
    if old:
        return Check("packages", "failed", "; ".join(old), f"pip install --upgrade {_PACKAGE}")
    return Check("packages", "ok", listed)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _broker() -> Check:
    told: list[str] = []
    for name, module, package in _BROKERS:
        is_there = util.find_spec(module) is not None
        told.append(f"{name} {'can be used' if is_there else f'needs pip install {package!r}'}")
    if util.find_spec("dramatiq") is None:
        return Check("broker", "failed", "dramatiq is not installed", "pip install dramatiq")
    return Check("broker", "ok", f"dramatiq {metadata.version('dramatiq')}; {'; '.join(told)}")


# -- the store -------------------------------------------------------------------------------------------------


def _schema(place: Place) -> Check:
    found, wanted = place.store.schema_version()
    where = place.shown_url
    if found == wanted:
        return Check("store", "ok", f"{where}: schema version {found}")
    told = f"{where}: schema version {found}, this code wants {wanted}"
    if found > wanted:
        return Check("store", "failed", told, f"a newer release has migrated it: upgrade {_PACKAGE} here")
    if place.file is not None:
        return Check("store", "warning", told, "it is migrated by the next process that opens it for writing")
    return Check("store", "failed", told, f"qwit migrate --store {where}")


def _clock(place: Place, reader: Reader) -> Check:
    if place.file is not None:
        return Check("clock", "ok", "the store goes by this machine's clock")
    before = SystemClock().now()
    stores = reader.now()
    here = before + (SystemClock().now() - before) / 2
    apart = abs(stores - here)
    told = f"the store's clock and this machine's differ by {span_text(apart)}"
    if apart > _CLOCKS_APART:
        return Check(
            "clock", "warning", told, "the store's counts; set this machine's by NTP, or times here mislead"
        )
    return Check("clock", "ok", told)


# -- workers and runs ------------------------------------------------------------------------------------------


def _runs(place: Place, reader: Reader) -> Iterator[Check]:
    workers = Workers(tuple(reader.workers()), reader.now())
    counts = reader.counts(place.namespace, ended=False)
    yield _workers(workers, sum(counts.get(status, 0) for status in _NEEDS_WORKERS))
    stuck = [view.run.key for view in reader.runs(_query(place, (Status.STUCK,)))]
    told = f"{counts.get(Status.STUCK, 0):,} runs need a person: {_named(stuck)}"
    yield (
        Check("stuck runs", "failed", told, f"qwit explain {stuck[0]}")
        if stuck
        else Check("stuck runs", "ok", "none")
    )
    looked_at = reader.runs(_query(place, tuple(OPEN - {Status.STUCK, Status.PAUSED})))
    total = sum(counts.get(status, 0) for status in OPEN)
    of = (
        ""
        if len(looked_at) < _OPEN_RUNS_LOOKED_AT
        else f" among the newest {len(looked_at):,} of {total:,} open runs"
    )
    yield _overdue(reader, workers, looked_at, of)
    yield _leases(workers, looked_at, of)


def _query(place: Place, statuses: tuple[Status, ...]) -> RunQuery:
    return RunQuery(namespace=place.namespace, statuses=statuses, limit=_OPEN_RUNS_LOOKED_AT)


def _named(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - _NAMED:,} more" if len(keys) > _NAMED else ""
    return ", ".join(keys[:_NAMED]) + more


def _workers(workers: Workers, waiting: int) -> Check:
    alive = workers.alive
    dead = len(workers.rows) - len(alive)
    also = f"; {dead} that died are still listed" if dead else ""
    if not alive and waiting:
        told = f"none is alive, and {waiting:,} runs are open{also}"
        return Check(
            "workers", "failed", told, "start one: dramatiq <your module>, or Durable(...).embedded()"
        )
    if not alive:
        return Check("workers", "ok", f"none is alive, and none is needed{also}")
    listed = ", ".join(
        f"{row.host}:{row.pid} (queues: {' '.join(row.queues) or 'all'})" for row in alive[:_NAMED]
    )
    return Check("workers", "ok", f"{len(alive)} alive: {listed}{also}")


def _overdue(reader: Reader, workers: Workers, views: Sequence[RunView], of: str) -> Check:
    late: dict[str, datetime] = {}
    before = workers.now - _LATE
    for view in views:
        dues = [task.ready_at for task in reader.tasks(view.run.id) if task.owner is None]
        if view.live is not None and view.live.owner is not None:
            dues = []
        dues += [timer.fire_at for timer in reader.timers(view.run.id)]
        if dues and min(dues) < before:
            late[view.run.key] = min(dues)
    if not late:
        return Check("overdue work", "ok", f"none{of}")
    when = When(workers.now)
    told = (
        f"{len(late):,} runs{of} wait for work that nobody has begun, since {when.told(min(late.values()))}"
    )
    remedy = f"are there workers for its queue, and is the broker up? qwit explain {next(iter(late))}"
    return Check("overdue work", "failed", f"{told}: {_named(list(late))}", remedy)


def _leases(workers: Workers, views: Sequence[RunView], of: str) -> Check:
    owned = [(view.run.key, view.live.owner) for view in views if view.live is not None]
    held = [key for key, owner in owned if owner is not None and not workers.is_alive(owner)]
    if not held:
        return Check("leases", "ok", f"no run{of} is held by a dead worker")
    told = f"{len(held):,} runs{of} are held by dead workers: {_named(held)}"
    if workers.alive:
        return Check(
            "leases", "warning", told, "living workers take them over; look again after a lease (10 s)"
        )
    return Check("leases", "failed", told, "start a worker: it takes them over")
