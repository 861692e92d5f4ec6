"""Resuming and closing one generator, and reading what it yields.

Every way in which a body can be wrong at a `yield` is turned into a message here: a value that is no command, a bare
generator where `yield from` was meant, a command that was built and dropped. The callers decide what becomes of it.
What a body raises is a fact to record; what interrupts its thread passes through.
"""

from __future__ import annotations

from inspect import GEN_CLOSED, getgeneratorstate, iscoroutine, isgenerator
from types import GeneratorType
from typing import Any, cast

import attrs

from qwit_durable.core.building import Sink, building_in, enter, leave
from qwit_durable.core.commands import Branch, Command, Gather, Leaf, Race, Saga, Site, Yieldable, calls_in
from qwit_durable.core.identity import identity
from qwit_durable.errors import describe
from qwit_durable.errors.interrupt import is_interrupt

__all__ = [
    "Answer",
    "Raised",
    "Resumed",
    "Returned",
    "Wrong",
    "close",
    "restart_in_branch",
    "resume",
    "run_before",
    "stands_at",
]

_COMMANDS = (*Leaf.__args__, Gather, Race, Saga)
_PACKAGE = __file__.rsplit("core", 1)[0]
_CLOSING_TRIES = 10

_GENERATOR: Any = GeneratorType  # untyped, as what it yields and takes is

#: Generators that can't be closed: collected, they would run on, in whatever thread and body that happens.
_unclosable: list[Branch] = []


@attrs.frozen
class Answer:
    """What a suspended generator is resumed with: a value, or an exception to be raised at its `yield`."""

    value: Any = None
    error: BaseException | None = None


@attrs.frozen
class Returned:
    """The generator has returned."""

    value: Any


@attrs.frozen
class Raised:
    """The generator has raised."""

    error: BaseException


@attrs.frozen
class Wrong:
    """The generator did something that can't be carried out durably."""

    message: str


Resumed = Command | Returned | Raised | Wrong


def stands_at(generator: Branch) -> Site | None:
    """The line of the user's source at which the generator is suspended, following `yield from` inwards."""
    site = None
    inner: Any = generator
    while isgenerator(inner):
        frame = inner.gi_frame
        if frame is None:
            break
        if not frame.f_code.co_filename.startswith(_PACKAGE):
            site = Site(frame.f_code.co_filename, frame.f_lineno)
        inner = inner.gi_yieldfrom
    return site


def resume(generator: Branch, value: Any, error: BaseException | None, sink: Sink) -> Resumed:
    """Resume the generator with a value, or with an error if there is one, and tell what it did next."""
    before = enter(sink)
    try:
        yielded = generator.send(value) if error is None else generator.throw(error)
    except StopIteration as stop:
        for call in calls_in(stop.value):
            _report_returned(call.as_command(), sink)
        return _checked(Returned(stop.value), sink)
    except BaseException as raised:
        if is_interrupt(raised):
            raise
        return _checked(Raised(raised), sink)
    finally:
        leave(before)
    command = yielded.as_command() if isinstance(yielded, Yieldable) else yielded
    if not isinstance(command, _COMMANDS):
        is_own = _is_answerable(generator)
        return Wrong((_not_a_command if is_own else _from_a_value)(yielded, stands_at(generator)))
    if not _is_answerable(generator):
        return Wrong(_from_a_list(stands_at(generator)))
    return command if not sink.dropped else _checked(command, sink)


def _is_answerable(generator: Branch) -> bool:
    """Whether what yields can take an answer: an iterator or a generator expression behind a `yield from` can't."""
    inner: Any = generator
    while inner is not None:
        if not isinstance(inner, _GENERATOR):
            return hasattr(inner, "send")
        if inner.__name__ == "<genexpr>":
            return False
        inner = inner.gi_yieldfrom
    return True


def _report_returned(command: Command, sink: Sink) -> None:
    """A body that returns a call means its value."""
    if isinstance(command, Gather | Race | Saga):
        sink.report(type(command).__name__.lower(), command.site)
    else:
        kind, name, _ = identity(command)
        sink.report(f"{kind} {name!r}", command.site)


def _checked(resumed: Resumed, sink: Sink) -> Resumed:
    if not sink.dropped:
        return resumed
    text, site = sink.dropped[0]
    sink.dropped.clear()
    then = ""
    if isinstance(resumed, Raised):
        said = str(resumed.error).partition("\n")[0]
        then = f"\n  then the body raised {type(resumed.error).__name__}: {said}"
    return Wrong(
        f"{site or 'the body'} built {text} and dropped it: it was never run.\n"
        f"  likely cause: a forgotten `yield from`\n"
        f"  wrong:  {_call(text)}\n"
        f"  right:  value = yield from {_call(text)}{then}"
    )


def _call(text: str) -> str:
    """`step 'charge'` as a line of code."""
    name = text.split("'")[1] if "'" in text else text
    return f"{name}(...)"


def _not_a_command(value: object, site: Site | None) -> str:
    where, kind = site or "the body", type(value).__name__
    if isgenerator(value):
        name = value.__name__
        return (
            f"{where} yields the bare generator {name!r}: its commands would never run.\n"
            f"  likely cause: `yield` where `yield from` was meant\n"
            f"  wrong:  yield {name}(...)\n"
            f"  right:  value = yield from {name}(...)"
        )
    if hasattr(value, "__await__"):
        shown = describe(value)
        if iscoroutine(value):
            value.close()
        return (
            f"{where} yields {shown}, a coroutine: a body can't await.\n"
            f"  likely cause: an async function was called as if it were a step\n"
            f"  wrong:  yield function(...)\n"
            f"  right:  decorate the function with @step and write `value = yield from function(...)`"
        )
    if hasattr(value, "fn") and hasattr(value, "site"):
        name = getattr(value, "name", "step")
        return (
            f"{where} yields {describe(value)} itself, which is no command.\n"
            f"  likely cause: it is not called\n"
            f"  wrong:  yield {name}\n"
            f"  right:  value = yield from {name}(...)"
        )
    if isinstance(value, (list, tuple, set)) and calls_in(cast("object", value)):
        return (
            f"{where} yields a {kind} of calls, which is no command.\n"
            f"  likely cause: all of them are meant to run at once\n"
            f"  wrong:  yield [call, ...]\n"
            f"  right:  values = yield from gather(*calls)"
        )
    return (
        f"{where} yields {describe(value)}, which is no command.\n"
        f"  likely cause: a plain function was called where a step was meant\n"
        f"  wrong:  yield function(...)\n"
        f"  right:  decorate the function with @step and write `value = yield from function(...)`"
    )


def _from_a_value(value: object, site: Site | None) -> str:
    return (
        f"{site or 'the body'} yields from a plain value, which gave {describe(value)}: that is no command.\n"
        f"  likely cause: a plain function was called where a step was meant\n"
        f"  wrong:  yield from function(...)\n"
        f"  right:  decorate the function with @step and write `value = yield from function(...)`"
    )


def _from_a_list(site: Site | None) -> str:
    return (
        f"{site or 'the body'} yields from a list or another iterable: it can't take the values of its calls.\n"
        f"  likely cause: all of them are meant to run at once, or one after the other\n"
        f"  wrong:  yield from [call, ...]\n"
        f"  right:  values = yield from gather(*calls)\n"
        f"  or:     for call in calls: value = yield from call"
    )


def run_before(member: Branch, verb: str, site: Site | None) -> str:
    """The message about a branch that has run before."""
    name = getattr(member, "__name__", "branch")
    return (
        f"{site or 'the body'} gives {verb}() the generator {name!r}, which has run before: it can run only once.\n"
        f"  likely cause: the same {verb}, or the same generator, is yielded twice\n"
        f"  right:  value = yield from {verb}({name}(...), ...), built anew each time"
    )


def restart_in_branch(site: Site | None) -> str:
    """The message about a restart that would lose other branches."""
    return (
        f"{site or 'the body'} restarts the run from within a branch: the other branches would be lost.\n"
        f"  likely cause: restart() inside a generator that gather(), race() or saga() runs\n"
        f"  right:  let the branch return, and `yield from restart(...)` in the workflow's own body"
    )


def close(generator: Branch) -> str | None:
    """Close the generator where it stands, with building inert; tell how it refused, if it did.

    What yields while it is closed is closed again where it yielded, the generators that it delegates to as well, so
    that its cleanup is over when this returns and nothing of it is left to the garbage collector. What goes on
    yielding is kept as it is for ever.
    """
    site = stands_at(generator)
    refusal = None
    known = _delegates(generator)
    with building_in(Sink(inert=True)):
        for _ in range(_CLOSING_TRIES):
            for one in known:
                try:
                    one.close()
                except BaseException as error:
                    if is_interrupt(error):
                        raise
                    again = next(filter(None, map(stands_at, reversed(known))), None)
                    refusal = refusal or _refusal(site, again, error)
            known = list(dict.fromkeys(inner for one in known for inner in _delegates(one)))
            if not known:
                break
        else:
            _unclosable.extend(known)
    return refusal


def _delegates(generator: Branch) -> list[Branch]:
    """The generators that stand open from this one inwards; none if it is closed."""
    found: list[Branch] = []
    inner: Any = generator
    while isgenerator(inner) and getgeneratorstate(inner) != GEN_CLOSED:
        found.append(inner)
        inner = inner.gi_yieldfrom
    return found


def _refusal(site: Site | None, again: Site | None, error: BaseException) -> str:
    how = f"it yields again at {again}" if again is not None else f"{type(error).__name__}: {error}"
    return (
        f"a body that was suspended at {site} did not close: {how}.\n"
        f"  likely cause: a `yield` or an error inside `finally` or a `with` block's exit\n"
        f"  way out: move the cleanup into an undo (@step.undo or compensate())"
    )
