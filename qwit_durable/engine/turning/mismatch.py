"""Code that no longer matches a history, in words: what is recorded there, and what today's body asks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from qwit_durable.core import Event, Kind, Mismatch, Resolved, Scheduled
from qwit_durable.core.identity import identity

__all__ = ["Report", "report_of"]

_ARGS_CHARS = 120
_TREE_ARGS_CHARS = 60
_BEFORE, _AFTER = 3, 2


@attrs.frozen(kw_only=True)
class Report:
    """What does not match.

    Attributes:
        recorded: The command that is recorded.
        found: What today's body asks for in its place.
        where: The file and the line of that, if it is known.
        tree: The recorded commands around it as lines, `-` before the recorded one and `+` before the found one.
    """

    position: str
    recorded: str
    found: str
    where: str
    tree: tuple[str, ...]

    def lines(self) -> list[str]:
        """The evidence as indented lines."""
        where = f"   at {self.where}" if self.where else ""
        return [
            f"  recorded: {self.recorded}",
            f"  found:    {self.found}{where}",
            "  in the history:",
            *(f"    {line}" for line in self.tree),
        ]

    def details(self) -> dict[str, Any]:
        """The same for programs."""
        return {**attrs.asdict(self), "tree": list(self.tree)}


def report_of(mismatch: Mismatch, facts: Iterable[Event]) -> Report:
    """What does not match. `facts` are the history."""
    recorded = mismatch.recorded
    assert isinstance(recorded, Scheduled | Resolved)
    short = found = mismatch.found_text
    where = ""
    if mismatch.found is not None:
        kind, name, args = identity(mismatch.found)
        found, short = _told(kind, name, args, _ARGS_CHARS), _told(kind, name, args, _TREE_ARGS_CHARS)
        where = str(mismatch.found.site or "")
    return Report(
        position=mismatch.position,
        recorded=_told(recorded.kind, recorded.name, recorded.args, _ARGS_CHARS),
        found=found,
        where=where,
        tree=tuple(_tree(_commands([*facts, recorded]), mismatch.position, short)),
    )


def _told(kind: Kind, name: str, args: bytes, limit_chars: int) -> str:
    text = args.decode("utf-8", "replace")
    shown = "" if text == "null" else text if len(text) <= limit_chars else f"{text[: limit_chars - 1]}…"
    return f"{kind} {name!r} {shown}".rstrip()


def _commands(facts: Iterable[Event]) -> dict[str, str]:
    """What is recorded at each position; the calls of a map are told with it."""
    found: dict[str, str] = {}
    for fact in facts:
        if not isinstance(fact, Scheduled | Resolved) or fact.position.startswith("~"):
            continue
        is_call = fact.kind is Kind.MAP and fact.position.rpartition(".")[0] in found
        if not is_call:
            found.setdefault(fact.position, _told(fact.kind, fact.name, fact.args, _TREE_ARGS_CHARS))
    for position in list(found):
        for above in _above(position):
            found.setdefault(above, "branches")
    return found


def _place(position: str) -> str:
    """Without the name of a patch, which stands before the command at its place: `3!taxes` before `3`."""
    return position.partition("!")[0]


def _above(position: str) -> Iterator[str]:
    place = _place(position)
    while "." in place:
        place = place.rpartition(".")[0]
        yield place


def _order(position: str) -> tuple[list[int], bool, str]:
    place = _place(position)
    return [int(part) for part in place.split(".")], place == position, position


def _tree(commands: dict[str, str], place: str, found: str) -> Iterator[str]:
    """The commands around a place, those in branches indented below what has the branches."""
    ordered = sorted(commands, key=_order)
    at = ordered.index(place)
    first = max(at - _BEFORE, 0)
    shown = ordered[first : at + 1 + _AFTER]
    path = sorted({above for position in shown for above in _above(position)} - set(shown), key=_order)
    if first > len(path):
        yield "  …"
    for position in (*path, *shown):
        if position != place:
            yield _line(" ", position, commands[position])
            continue
        yield _line("-", position, commands[position])
        yield _line("+", position, found)
    if at + 1 + _AFTER < len(ordered):
        yield "  …"


def _line(mark: str, position: str, text: str) -> str:
    place = _place(position)
    return f"{mark} {'  ' * place.count('.')}{place}  {text}"
