"""Random programs as trees, the body that does what a tree says, and the sequential model of what it comes to.

Where a tree races, nobody can say beforehand who is first: the body notes it in `Notes`, with the scopes that raised
and those that lost, and the model reads it there. Everything else the model knows from the tree alone.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import attrs
from hypothesis import strategies as st

from qwit_durable.core import Patched, Program, Publish, Restart
from qwit_durable.core.commands import Info
from qwit_durable.errors import ChildFailed, SignalTimeout, StepFailed
from tests.core import asking

__all__ = [
    "All",
    "Block",
    "Boom",
    "Change",
    "Do",
    "Each",
    "Facts",
    "First",
    "Guarded",
    "Hear",
    "Nap",
    "Note",
    "Notes",
    "Owe",
    "Scope",
    "Sub",
    "Tell",
    "body_of",
    "fails",
    "program",
    "seeds",
    "trees",
    "value_of",
]


@attrs.frozen
class Do:
    """A step that works, fails, or works at its third attempt."""

    fate: str
    undo: str | None


@attrs.frozen
class Each:
    """A map over items with fates of their own."""

    fates: tuple[str, ...]
    undo: str | None
    limit: int | None


@attrs.frozen
class Sub:
    """A sub-workflow that fails, or leaves something to undo, or nothing."""

    fate: str


@attrs.frozen
class Nap:
    """A timer."""


@attrs.frozen
class Hear:
    """A wait for a signal; it may time out, which changes nothing."""

    name: str
    times_out: bool


@attrs.frozen
class Owe:
    """An undo handed to `compensate`."""


@attrs.frozen
class Note:
    """A recorded value."""


@attrs.frozen
class Tell:
    """A published value."""


@attrs.frozen
class Facts:
    """Facts about the run."""


@attrs.frozen
class Change:
    """A place where newer code asks `patched`; what follows is the same either way."""

    name: str


@attrs.frozen
class Boom:
    """The body's own error."""


@attrs.frozen
class Block:
    """One after the other."""

    nodes: tuple[Any, ...]


@attrs.frozen
class All:
    """A gather."""

    members: tuple[Any, ...]
    limit: int | None


@attrs.frozen
class First:
    """A race."""

    members: tuple[Any, ...]


@attrs.frozen
class Scope:
    """A saga."""

    block: Block


@attrs.frozen
class Guarded:
    """`try` and `except`."""

    block: Block
    handler: Block


_UNDOS = st.sampled_from([None, "completed", "attempted"])
_FATES = ["works", "works", "works", "retries", "fails"]
_LIMITS = st.sampled_from([None, None, 1, 2])
_LEAVES = st.one_of(
    st.builds(Do, fate=st.sampled_from(_FATES), undo=_UNDOS),
    st.builds(Do, fate=st.just("works"), undo=st.sampled_from(["completed", "attempted"])),
    st.builds(
        Each,
        fates=st.lists(st.sampled_from(["works", *_FATES]), max_size=4).map(tuple),
        undo=_UNDOS,
        limit=_LIMITS,
    ),
    st.builds(Sub, fate=st.sampled_from(["plain", "owes", "restarts", "fails"])),
    st.just(Nap()),
    st.builds(Hear, name=st.sampled_from("ab"), times_out=st.booleans()),
    st.sampled_from([Owe(), Note(), Tell(), Facts(), Boom(), Change("x"), Change("y")]),
)


def _blocks(nodes: st.SearchStrategy[Any]) -> st.SearchStrategy[Block]:
    return st.builds(Block, nodes=st.lists(nodes, max_size=3).map(tuple))


def _members(nodes: st.SearchStrategy[Any], least: int) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(nodes, min_size=least, max_size=4).map(tuple)


_NODES = st.recursive(
    _LEAVES,
    lambda nodes: st.one_of(
        st.builds(All, members=_members(nodes, 0), limit=_LIMITS),
        st.builds(First, members=_members(nodes, 1)),
        st.builds(Scope, block=_blocks(nodes)),
        st.builds(Guarded, block=_blocks(nodes), handler=_blocks(nodes)),
        _blocks(nodes),
    ),
    max_leaves=12,
)

#: Trees of everything that a body may yield, with failures and handlers.
trees = st.lists(_NODES, min_size=1, max_size=4).map(lambda nodes: Block(tuple(nodes)))
seeds = st.integers(min_value=0, max_value=2**32)


# -- what bodies note ----------------------------------------------------------------------------------------------


@attrs.define
class Notes:
    """What happened in the bodies of one run, by the places in its tree: replays note the same again.

    Attributes:
        winners: Which member of a race was answered.
        undone: The scopes that are to have been undone: sagas that raised, members that lost.
        is_vague: Somebody was first and nobody knows who.
    """

    winners: dict[str, int] = attrs.field(factory=dict)
    undone: set[str] = attrs.field(factory=set)
    is_vague: bool = False

    def clear(self) -> None:
        self.winners.clear()
        self.undone.clear()
        self.is_vague = False

    def won(self, at: str, index: int, members: int) -> None:
        self.winners[at] = index
        self.undone.update(f"{at}.{lost}" for lost in range(members) if lost != index)

    def is_to_be_undone(self, at: str) -> bool:
        """Whether a place lies in a scope that is to have been undone."""
        return any(at == scope or at.startswith(f"{scope}.") for scope in self.undone)


# -- the model -----------------------------------------------------------------------------------------------------


class _Failing(Exception):
    """What `value_of` raises where the body would."""


def value_of(node: Any, notes: Notes, at: str = "") -> Any:
    """What a body comes to, in whatever order it is answered, given who won its races."""
    match node:
        case Do(fate="fails") | Sub(fate="fails") | Boom():
            raise _Failing
        case Do(fate=fate) | Sub(fate=fate):
            return fate
        case Each(fates=fates):
            if "fails" in fates:
                raise _Failing
            return list(fates)
        case Nap() | Owe() | Tell() | Change():
            return None
        case Note() | Facts():
            return 1
        case Hear():
            return "heard"
        case Block(nodes=nodes):
            return [value_of(inner, notes, f"{at}.{n}") for n, inner in enumerate(nodes)]
        case All(members=members):
            return [value_of(member, notes, f"{at}.{n}") for n, member in enumerate(members)]
        case First(members=members):
            if at not in notes.winners:  # never decided: something beside it has failed
                raise _Failing
            index = notes.winners[at]
            return [index, value_of(members[index], notes, f"{at}.{index}")]
        case Scope(block=block):
            return value_of(block, notes, f"{at}.0")
        case Guarded(block=block, handler=handler):
            try:
                return value_of(block, notes, f"{at}.0")
            except _Failing:
                return ["caught", value_of(handler, notes, f"{at}.1")]


def fails(tree: Any, notes: Notes) -> bool:
    try:
        value_of(tree, notes)
    except _Failing:
        return True
    return False


# -- the body ------------------------------------------------------------------------------------------------------


class CoreWords:
    """Commands of the core itself. A step's name tells when its undo is owed, as a registry would."""

    def step(self, fate: str, undo: str | None, at: str) -> Any:
        return asking.step(_named(fate, undo), undo, at, undo=undo)

    def each(self, fates: tuple[str, ...], undo: str | None, limit: int | None, at: str) -> Any:
        items = [[fate, undo, f"{at}.{n}"] for n, fate in enumerate(fates)]
        return asking.mapped(_named("each", undo), *items, undo=undo, limit=limit)

    def sub(self, fate: str, at: str) -> Any:
        return asking.child(fate, at)

    def nap(self) -> Any:
        return asking.SLEEP

    def hear(self, name: str, *, times_out: bool) -> Any:
        return attrs.evolve(asking.signal(name), timeout=timedelta(1) if times_out else None)

    def owe(self, at: str) -> Any:
        return asking.compensate("owe", at)

    def note(self) -> Any:
        return asking.record()

    def tell(self, at: str) -> Any:
        return Publish(name="key", value=asking.encode(at))

    def facts(self) -> Any:
        return Info(decode=asking.decode)

    def patched(self, name: str) -> Any:
        return Patched(name=name)

    def gather(self, *members: Any, limit: int | None) -> Any:
        return asking.gather(*members, limit=limit)

    def race(self, *members: Any) -> Any:
        return asking.race(*members)

    def saga(self, member: Any) -> Any:
        return asking.saga(member)


_CORE = CoreWords()


def _named(name: str, undo: str | None) -> str:
    return name if undo is None else f"{name}:{undo}"


@attrs.frozen
class _Body:
    words: Any
    notes: Notes
    asks_patches: bool

    def call(self, node: Any, at: str) -> Any:
        """What a node is as a call; None for what is a branch."""
        words = self.words
        match node:
            case Do(fate=fate, undo=undo):
                return words.step(fate, undo, at)
            case Each(fates=fates, undo=undo, limit=limit):
                return words.each(fates, undo, limit, at)
            case Sub(fate=fate):
                return words.sub(fate, at)
            case Nap():
                return words.nap()
            case Owe():
                return words.owe(at)
            case Note():
                return words.note()
            case Tell():
                return words.tell(at)
            case All(members=members, limit=limit):
                inner = [self.member(m, f"{at}.{n}") for n, m in enumerate(members)]
                return words.gather(*inner, limit=limit)
            case Scope(block=block):
                return words.saga(self.scope(self.run(block, f"{at}.0"), f"{at}.0"))
            case _:
                return None

    def member(self, node: Any, at: str) -> Any:
        call = self.call(node, at)
        return self.run(node, at) if call is None else call

    def scope(self, branch: Generator[Any, Any, Any], at: str) -> Generator[Any, Any, Any]:
        try:
            return (yield from branch)
        except Exception:
            self.notes.undone.add(at)
            raise

    def run(self, node: Any, at: str = "") -> Generator[Any, Any, Any]:
        match node:
            case Boom():
                message = "boom"
                raise RuntimeError(message)
            case Change(name=name):
                if self.asks_patches:
                    yield self.words.patched(name)
                return None
            case Facts():
                yield self.words.facts()
                return 1
            case Hear(name=name, times_out=times_out):
                with suppress(SignalTimeout):
                    yield self.words.hear(name, times_out=times_out)
                return "heard"
            case Block(nodes=nodes):
                values = []
                for n, inner in enumerate(nodes):
                    values.append((yield from self.run(inner, f"{at}.{n}")))
                return values
            case Guarded(block=block, handler=handler):
                try:
                    return (yield from self.run(block, f"{at}.0"))
                except Exception:  # noqa: BLE001 - a careless saga
                    return ["caught", (yield from self.run(handler, f"{at}.1"))]
            case First(members=members):
                return (yield from self.race(members, at))
            case All() | Each():
                return list((yield self.call(node, at)))
            case _:
                return (yield self.call(node, at))

    def race(self, members: tuple[Any, ...], at: str) -> Generator[Any, Any, Any]:
        raised: list[tuple[Exception, int]] = []

        def watched(index: int) -> Generator[Any, Any, Any]:
            member, place = members[index], f"{at}.{index}"
            if isinstance(member, Scope):
                member, place = member.block, f"{place}.0"
            try:
                return (yield from self.run(member, place))
            except Exception as error:
                raised.append((error, index))
                raise

        def racer(index: int) -> Any:
            """Calls stand as they are, so that both sorts of members race; a saga has its branch watched."""
            member = members[index]
            if isinstance(member, Scope):
                return self.words.saga(self.scope(watched(index), f"{at}.{index}.0"))
            if isinstance(member, All):
                return watched(index)
            call = self.call(member, f"{at}.{index}")
            return watched(index) if call is None else call

        try:
            index, value = yield self.words.race(*map(racer, range(len(members))))
        except Exception as error:
            found = [n for one, n in raised if one is error]
            first = found[0] if found else _member_of(error, at)
            if first is None:
                self.notes.is_vague = True
            else:
                self.notes.won(at, first, len(members))
            raise
        self.notes.won(at, index, len(members))
        return [index, list(value) if isinstance(value, tuple) else value]


def _member_of(error: Exception, at: str) -> int | None:
    """Which member of a race a step or sub-workflow is that failed: its place is in the failure, unless it died."""
    assert isinstance(error, StepFailed | ChildFailed), error
    place = error.error.message
    if not place.startswith(f"{at}."):
        return None
    return int(place.removeprefix(f"{at}.").partition(".")[0])


def body_of(
    tree: Any, notes: Notes, words: Any = _CORE, *, asks_patches: bool = True
) -> Generator[Any, Any, Any]:
    """A body that does what the tree says, in these words."""
    return _Body(words, notes, asks_patches).run(tree)


def _undo_when(name: str) -> Any:
    return name.partition(":")[2] or None


def program(
    tree: Block,
    notes: Notes | None = None,
    *,
    restarts: int = 0,
    asks_patches: bool = True,
    **options: Any,
) -> Program:
    """The tree as an interpreter runs it; it begins anew that many times before it returns."""
    kept = notes if notes is not None else Notes()

    def body(args: bytes) -> Generator[Any, Any, Any]:
        value = yield from body_of(tree, kept, asks_patches=asks_patches)
        before = asking.decode(args) or 0
        if before < restarts:
            yield Restart(args=asking.encode(before + 1))
        return value

    return Program(name="tree", body=body, encode=asking.encode, undo_when=_undo_when, **options)
