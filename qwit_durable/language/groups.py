"""Verbs that run several things at once, or one thing in a scope of its own: gather, race, map_steps, saga.

Each returns an inert call that the body yields. Members are calls of steps, sub-workflows and verbs, or generators,
which run as branches. Neighbour: `verbs` has those that stand alone.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Generator, Iterable
from typing import Any, TypeVar, overload

from qwit_durable.core.commands import Gather, Leaf, MapSteps, Race, Saga, Yieldable
from qwit_durable.errors import EncodingError, describe
from qwit_durable.language.calls import IN_THE_BODY, Call, call_site, refuse_in_step
from qwit_durable.language.step import Step

__all__ = ["gather", "map_steps", "race", "saga"]

T = TypeVar("T")
R = TypeVar("R")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
T5 = TypeVar("T5")
T6 = TypeVar("T6")


@overload
def gather(*, limit: int | None = None) -> Call[tuple[()]]: ...
@overload
def gather(c1: Call[T1] | Generator[Any, Any, T1], /, *, limit: int | None = None) -> Call[tuple[T1]]: ...
@overload
def gather(
    c1: Call[T1] | Generator[Any, Any, T1],
    c2: Call[T2] | Generator[Any, Any, T2],
    /,
    *,
    limit: int | None = None,
) -> Call[tuple[T1, T2]]: ...
@overload
def gather(
    c1: Call[T1] | Generator[Any, Any, T1],
    c2: Call[T2] | Generator[Any, Any, T2],
    c3: Call[T3] | Generator[Any, Any, T3],
    /,
    *,
    limit: int | None = None,
) -> Call[tuple[T1, T2, T3]]: ...
@overload
def gather(
    c1: Call[T1] | Generator[Any, Any, T1],
    c2: Call[T2] | Generator[Any, Any, T2],
    c3: Call[T3] | Generator[Any, Any, T3],
    c4: Call[T4] | Generator[Any, Any, T4],
    /,
    *,
    limit: int | None = None,
) -> Call[tuple[T1, T2, T3, T4]]: ...
@overload
def gather(
    c1: Call[T1] | Generator[Any, Any, T1],
    c2: Call[T2] | Generator[Any, Any, T2],
    c3: Call[T3] | Generator[Any, Any, T3],
    c4: Call[T4] | Generator[Any, Any, T4],
    c5: Call[T5] | Generator[Any, Any, T5],
    /,
    *,
    limit: int | None = None,
) -> Call[tuple[T1, T2, T3, T4, T5]]: ...
@overload
def gather(
    c1: Call[T1] | Generator[Any, Any, T1],
    c2: Call[T2] | Generator[Any, Any, T2],
    c3: Call[T3] | Generator[Any, Any, T3],
    c4: Call[T4] | Generator[Any, Any, T4],
    c5: Call[T5] | Generator[Any, Any, T5],
    c6: Call[T6] | Generator[Any, Any, T6],
    /,
    *,
    limit: int | None = None,
) -> Call[tuple[T1, T2, T3, T4, T5, T6]]: ...
@overload
def gather(
    c1: Call[T] | Generator[Any, Any, T],
    c2: Call[T] | Generator[Any, Any, T],
    c3: Call[T] | Generator[Any, Any, T],
    c4: Call[T] | Generator[Any, Any, T],
    c5: Call[T] | Generator[Any, Any, T],
    c6: Call[T] | Generator[Any, Any, T],
    c7: Call[T] | Generator[Any, Any, T],
    /,
    *calls: Call[T] | Generator[Any, Any, T],
    limit: int | None = None,
) -> Call[tuple[T, ...]]: ...
def gather(*calls: Any, limit: int | None = None) -> Call[Any]:
    """Run calls at once and answer with the tuple of their values, in order.

    Where one fails, the others settle (what has not begun is dropped, what is being attempted is waited for), then the
    first failure is raised at the `yield`.

    Args:
        calls: Calls of steps, sub-workflows and verbs, or generators, which run as branches.
        limit: How many run at the same time, at least 1; None for all of them.

    Raises:
        TypeError: A member is none of these; the message names it.
        ValueError: `limit` is below 1.

    >>> boxes = yield from gather(*(pack(item) for item in order.items))
    """
    refuse_in_step("gather()", IN_THE_BODY)
    _check_limit("gather", limit)
    return Call(Gather(members=_members("gather", calls), limit=limit, site=call_site()), "gather")


@overload
def race(
    c1: Call[T1] | Generator[Any, Any, T1], c2: Call[T2] | Generator[Any, Any, T2], /
) -> Call[tuple[int, T1 | T2]]: ...
@overload
def race(
    c1: Call[T1] | Generator[Any, Any, T1],
    c2: Call[T2] | Generator[Any, Any, T2],
    c3: Call[T3] | Generator[Any, Any, T3],
    /,
) -> Call[tuple[int, T1 | T2 | T3]]: ...
@overload
def race(*calls: Call[T] | Generator[Any, Any, T]) -> Call[tuple[int, T]]: ...
def race(*calls: Any) -> Call[Any]:
    """Run calls at once and answer with `(index, value)` of the first to finish; if that one failed, raise its failure.

    The others settle in the background: timers and waits end at once, sub-workflows are cancelled, what has not begun
    is dropped. A step that is being attempted is asked to stop and not waited for; if it completes all the same, it is
    undone at once, as is what a losing branch had done. The run ends only when all of that has.

    Args:
        calls: Calls of steps, sub-workflows and verbs, or generators, which run as branches; at least one.

    Raises:
        TypeError: A member is none of these; the message names it.
        ValueError: There is none.

    >>> index, answer = yield from race(wait_signal("paid"), sleep(timedelta(days=2)))
    """
    refuse_in_step("race()", IN_THE_BODY)
    if not calls:
        msg = f"race() at {call_site()}: at least one call is needed: a race of none would never end"
        raise ValueError(msg)
    return Call(Race(members=_members("race", calls), site=call_site()), "race")


def saga(branch: Call[T] | Generator[Any, Any, T], /) -> Call[T]:
    """Run a branch in a compensation scope of its own, as a savepoint does, and answer with its value.

    If the branch raises, only what it did is undone, newest first; then the error is raised here, and the body may go
    on otherwise. If it returns, what it owes is owed by the scope around it. Sagas may lie within sagas to any depth.

    Args:
        branch: A generator, or the call of a step or a sub-workflow.

    Raises:
        TypeError: It is something else.

    >>> try:
    ...     trip = yield from saga(book_with(airline))
    ... except StepFailed:
    ...     trip = yield from saga(book_with(railway))
    """
    refuse_in_step("saga()", IN_THE_BODY)
    return Call(Saga(member=_members("saga", (branch,))[0], site=call_site()), "saga")


def map_steps(step: Step[[T], R], items: Iterable[T], *, limit: int | None = None) -> Call[tuple[R, ...]]:
    """Run one step for each of many items and answer with the tuple of their values, in the order of the items.

    Made for a hundred thousand items and more: the calls are handed over a few hundred at a time and always queued, the
    run is woken once, and each costs it little memory. Where one fails for good, the others settle as in `gather`, then
    the first failure is raised. Items are compared by number and digest on replay.

    Args:
        step: The step, not called: it is called with each item as its only argument. `step.options(...)` will do.
        items: The items; what their types are, the step's annotation says.
        limit: How many run at the same time, at least 1; None for all of them. Call n begins when call n - limit has
            succeeded.

    Raises:
        TypeError: The step is called already, is none, or takes other arguments than one item.
        EncodingError: An item can't be stored; the message names it.
        ValueError: `limit` is below 1.

    >>> sizes = yield from map_steps(resize, urls, limit=50)
    """
    refuse_in_step("map_steps()", IN_THE_BODY)
    _check_limit("map_steps", limit)
    _check_step(step)
    encoded = _encoded(step, items)
    digest = hashlib.blake2b(digest_size=16)
    for one in encoded:
        digest.update(len(one).to_bytes(8, "big"))
        digest.update(one)
    args = json.dumps({"count": len(encoded), "digest": digest.hexdigest()}, sort_keys=True).encode()
    undo = step.undo_definition
    command = MapSteps(
        name=step.name,
        args=args,
        items=encoded,
        limit=limit,
        settings=step.settings,
        undo_when=undo.when if undo is not None else None,
        decode=step.decode_result,
        site=call_site(),
    )
    return Call(command, f"map_steps {step.name!r}")


def _check_step(step: object) -> None:
    if not isinstance(step, Step):
        msg = (
            f"map_steps() at {call_site()} takes a step and the items, got {describe(step)}\n"
            f"  likely cause: the step is called, or it is a plain function or a workflow\n"
            f"  right:  values = yield from map_steps(resize, urls)\n"
            f"  or:     values = yield from gather(*(deliver(item) for item in items)) for a workflow"
        )
        raise TypeError(msg)


def _encoded(step: Step[Any, Any], items: Iterable[object]) -> tuple[bytes, ...]:
    """The arguments of each call."""
    if not hasattr(items, "__iter__"):
        msg = (
            f"map_steps() at {call_site()} takes a step and the items, got {describe(items)} for the items\n"
            f"  right:  values = yield from map_steps({step.name}, [first, second])"
        )
        raise TypeError(msg)
    encoded: list[bytes] = []
    for index, item in enumerate(items):
        try:
            encoded.append(step.encode_call((item,), {}))
        except EncodingError as error:
            msg = f"map_steps() at {call_site()}: item {index}: {error}"
            raise EncodingError(msg) from error
        except TypeError as error:
            if isinstance(item, Call):
                raise
            msg = (
                f"map_steps() at {call_site()}: item {index}: {error}\n"
                f"  likely cause: the step does not take exactly one argument\n"
                f"  right:  a step with one parameter; several values travel in a tuple or a class of yours"
            )
            raise TypeError(msg) from error
    return tuple(encoded)


def _members(verb: str, calls: tuple[object, ...]) -> tuple[object, ...]:
    members = tuple(_member(verb, index, call) for index, call in enumerate(calls))
    branches = [id(member) for member in members if inspect.isgenerator(member)]
    if len(set(branches)) < len(branches):
        msg = (
            f"{verb}() at {call_site()}: one generator is a member twice, but it can run only once\n"
            f"  right:  {verb}(branch(a), branch(b))"
        )
        raise TypeError(msg)
    return members


def _check_limit(verb: str, limit: object) -> None:
    if limit is None:
        return
    if not isinstance(limit, int) or isinstance(limit, bool):
        msg = f"{verb}() at {call_site()}: limit is an int, got {describe(limit)}"
        raise TypeError(msg)
    if limit < 1:
        msg = (
            f"{verb}() at {call_site()}: limit is at least 1, got {limit}\n"
            f"  way out: leave it out to run all of them at the same time"
        )
        raise ValueError(msg)


def _member(verb: str, index: int, call: object) -> object:
    kind = type(call).__name__
    if isinstance(call, Yieldable):
        return call.as_command()
    if isinstance(call, (*Leaf.__args__, Gather, Race, Saga)):
        return call
    is_loop = inspect.isgenerator(call) and call.__name__ == "<genexpr>"
    if inspect.isgenerator(call) and not is_loop:
        if inspect.getgeneratorstate(call) == inspect.GEN_CREATED:
            return call
        msg = (
            f"{verb}() at {call_site()}: member {index} is the generator {call.__name__!r}, which has already begun\n"
            f"  likely cause: it is a member of another {verb}, or was iterated\n"
            f"  right:  {verb}({call.__name__}(...)), built anew"
        )
        raise TypeError(msg)
    if is_loop:
        hint = (
            f"  likely cause: it is not unpacked\n"
            f"  wrong:  {verb}(call(item) for item in items)\n"
            f"  right:  {verb}(*(call(item) for item in items))"
        )
    elif hasattr(call, "fn") and hasattr(call, "site"):
        name = getattr(call, "name", "step")
        hint = f"  likely cause: it is not called\n  wrong:  {verb}({name})\n  right:  {verb}({name}(...))"
    elif isinstance(call, (list, tuple, set)) and verb == "saga":
        hint = (
            "  likely cause: several calls, but one branch is undone as a whole\n"
            "  right:  saga(branch(...)), with `def branch(...) -> Workflow[...]` that yields them"
        )
    elif isinstance(call, (list, tuple, set)):
        hint = f"  likely cause: it is not unpacked\n  wrong:  {verb}(calls)\n  right:  {verb}(*calls)"
    else:
        hint = (
            "  likely cause: a plain function was called where a step was meant\n"
            "  way out: members are calls of steps, sub-workflows and verbs, and generators"
        )
    msg = f"{verb}() at {call_site()}: member {index} is {describe(call)} of type {kind}, which is no call\n{hint}"
    raise TypeError(msg)
