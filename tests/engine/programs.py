"""Random programs in the language, over a ledger of what they did to the outside and undid again."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import Any

import attrs

from qwit_durable.core import Retry
from qwit_durable.language.context import current
from qwit_durable.language.groups import gather, map_steps, race, saga
from qwit_durable.language.step import step
from qwit_durable.language.verbs import (
    compensate,
    info,
    patched,
    publish,
    record,
    restart,
    sleep,
    wait_signal,
)
from qwit_durable.language.workflow import Workflow, workflow
from tests.core import trees
from tests.core.trees import Notes

__all__ = ["Ledger", "ledger", "notes", "parked_tree", "programs", "stubborn_tree", "tree"]

_QUICK = Retry(max_attempts=4, first=timedelta(seconds=1))
_ONCE = Retry(max_attempts=1)


class Ledger:
    """What was done to the outside and undone again, by a label of each step, kept beside the histories.

    A label is the sort of step, the generation, and the place in the tree. `stubborn` undos fail at first. `unknown` is
    an effect whose process died before it was recorded: unless it is attempted again, only `attempted` undos cover it.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.done: list[str] = []
        self.undone: list[str] = []
        self.attempts: Counter[str] = Counter()
        self.undos: Counter[str] = Counter()
        self.unknown: str | None = None
        self._latest: str | None = None
        self.stubborn = 0

    def process_died(self) -> None:
        """What it did last may be recorded nowhere."""
        self.unknown = self._latest

    def do(self, label: str, fate: str) -> str:
        self._latest = label if current().step.startswith("owing") else None
        if label == self.unknown:
            self.unknown = None
        key = current().idempotency_key
        self.attempts[key] += 1
        if fate == "fails" or (fate == "retries" and self.attempts[key] < 3):
            raise ValueError(label.rsplit(maxsplit=1)[-1])
        if label not in self.done:
            self.done.append(label)
        return fate

    def undo(self, label: str) -> None:
        key = current().idempotency_key
        self.undos[key] += 1
        if self.undos[key] <= self.stubborn:
            raise ValueError(label)
        if label not in self.undone or self.undos[key] == self.stubborn + 1:
            self.undone.append(label)

    @property
    def standing(self) -> set[str]:
        """Effects that nobody undid."""
        return set(self.done) - set(self.undone) - {self.unknown}


ledger = Ledger()
notes = Notes()


@step(retry=_QUICK)
def plain(label: str, fate: str) -> str:
    return ledger.do(label, fate)


@step(retry=_QUICK)
def owing(label: str, fate: str) -> str:
    return ledger.do(label, fate)


@owing.undo(retry=_ONCE)
def undo_owing(label: str, fate: str, result: str) -> None:
    assert result == fate
    ledger.undo(label)


@step(retry=_QUICK)
def half(label: str, fate: str) -> str:
    return ledger.do(label, fate)


@half.undo(when="attempted", retry=_ONCE)
def undo_half(label: str, fate: str, result: str | None) -> None:
    assert result in {fate, None}
    ledger.undo(label)


@attrs.frozen
class Item:
    """One item of a map."""

    label: str
    fate: str


@step(retry=_QUICK)
def plain_each(item: Item) -> str:
    return ledger.do(item.label, item.fate)


@step(retry=_QUICK)
def owing_each(item: Item) -> str:
    return ledger.do(item.label, item.fate)


@owing_each.undo(retry=_ONCE)
def undo_each(item: Item, result: str) -> None:
    assert result == item.fate
    ledger.undo(item.label)


@step(retry=_QUICK)
def half_each(item: Item) -> str:
    return ledger.do(item.label, item.fate)


@half_each.undo(when="attempted", retry=_ONCE)
def undo_half_each(item: Item) -> None:
    ledger.undo(item.label)


@step(retry=_ONCE)
def retract(label: str) -> None:
    ledger.undo(label)


@workflow
def kid(label: str, fate: str, before: int = 0) -> Workflow[str]:
    if fate != "plain":
        yield from gather(owing(f"kid {label}a{before}", "works"), half(f"kid {label}b{before}", "works"))
    yield from sleep(timedelta(seconds=3))
    if fate == "restarts" and before < 2:
        yield from restart(label, fate, before + 1)
    if fate == "fails":
        raise ValueError(label.rsplit(maxsplit=1)[-1])
    return fate


_STEPS = {None: plain, "completed": owing, "attempted": half}
_CALLS = {None: plain_each, "completed": owing_each, "attempted": half_each}
_SORTS = {None: "plain", "completed": "owing", "attempted": "half"}


@attrs.frozen
class Words:
    """The verbs of the language, for `trees`."""

    dispatch: Any
    generation: int

    def _label(self, sort: str, at: str) -> str:
        return f"{sort} {self.generation} {at}"

    def step(self, fate: str, undo: Any, at: str) -> Any:
        return _STEPS[undo].options(dispatch=self.dispatch)(self._label(_SORTS[undo], at), fate)

    def each(self, fates: tuple[str, ...], undo: Any, limit: int | None, at: str) -> Any:
        items = [Item(self._label(_SORTS[undo], f"{at}.{n}"), fate) for n, fate in enumerate(fates)]
        return map_steps(_CALLS[undo], items, limit=limit)

    def sub(self, fate: str, at: str) -> Any:
        return kid(f"{self.generation} {at}", fate)

    def nap(self) -> Any:
        return sleep(timedelta(seconds=2))

    def hear(self, name: str, *, times_out: bool) -> Any:
        return wait_signal(name, timeout=timedelta(seconds=1) if times_out else None)

    def owe(self, at: str) -> Any:
        return compensate(retract(self._label("retract", at)))

    def note(self) -> Any:
        return record(_one)

    def tell(self, at: str) -> Any:
        return publish("at", at)

    def facts(self) -> Any:
        return info()

    def patched(self, name: str) -> Any:
        return patched(name)

    def gather(self, *members: Any, limit: int | None) -> Any:
        return gather(*members, limit=limit)

    def race(self, *members: Any) -> Any:
        return race(*members)

    def saga(self, member: Any) -> Any:
        return saga(member)


def _one() -> int:
    return 1


programs: dict[int, trees.Block] = {}


def _run(dispatch: str | None, restarts: int, before: int) -> Workflow[str]:
    value = yield from trees.body_of(programs[0], notes, Words(dispatch, before))
    if before < restarts:
        yield from restart(dispatch, restarts, before + 1)
    return json.dumps(value)


@workflow
def tree(dispatch: str | None, restarts: int, before: int = 0) -> Workflow[str]:
    return (yield from _run(dispatch, restarts, before))


@workflow(on_undo_failure="continue")
def stubborn_tree(dispatch: str | None, restarts: int, before: int = 0) -> Workflow[str]:
    return (yield from _run(dispatch, restarts, before))


@workflow(park_on_failure=True)
def parked_tree(dispatch: str | None, restarts: int, before: int = 0) -> Workflow[str]:
    return (yield from _run(dispatch, restarts, before))
