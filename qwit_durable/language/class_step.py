"""A class of a flow as steps: its `run`, and its `run_continue` where it waits for signals.

A class is made anew for each attempt: what it keeps on `self` is gone afterwards. What it adds to the state is its
step's value, and `rollback` gets it with the state that `run` got. A part that waits says so by a value of its own
(`CONTINUE`), in both directions.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any, ClassVar, cast, final

import attrs

from qwit_durable.codec import decode, encode
from qwit_durable.core.commands import CallStep, Resumption, Settings
from qwit_durable.core.outcome import Value
from qwit_durable.core.retry import Retry
from qwit_durable.errors import DefinitionError, Failure, describe
from qwit_durable.language.calls import Call
from qwit_durable.language.definitions import site_of
from qwit_durable.language.options import StepCallOptions, check_duration
from qwit_durable.language.settings import settings_of
from qwit_durable.language.step import Step
from qwit_durable.language.undo import UndoDefinition
from qwit_durable.registry import default_registry

__all__ = ["CONTINUE", "ClassStep", "Continue", "class_step", "update_in"]

State = dict[str, Any]
_MARK = "CONTINUE"


@final
@attrs.frozen
class Continue:
    """What `run`, `rollback` and their continuations return to wait for a signal: `CONTINUE`, or `CONTINUE({...})`.

    `CONTINUE({"ticket": 7})` adds to the state before it waits.

    >>> class Ask:
    ...     signal = "approved"
    ...
    ...     def run(self, state):
    ...         return CONTINUE({"asked": "Ann"})
    ...
    ...     def run_continue(self, signal, state):
    ...         return {"approved by": signal}
    >>> handle = flow("asking", [Ask]).start({})
    >>> handle.signal("approved", "Ann")
    >>> handle.result()
    {'approved by': 'Ann', 'asked': 'Ann'}
    """

    update: Mapping[str, Any] = attrs.field(factory=dict[str, Any])

    def __call__(self, update: Mapping[str, Any]) -> Continue:
        """Wait, and add this to the state."""
        return Continue(dict(update))

    def __repr__(self) -> str:
        return f"{_MARK}({dict(self.update)!r})" if self.update else _MARK


#: Returned by a class of a flow that waits for a signal before it goes on.
CONTINUE = Continue()


def update_in(value: object) -> tuple[State, bool]:
    """What a recorded value adds to the state, and whether its class waits for a signal."""
    match value:
        case None:
            return {}, False
        case list():
            return cast("list[State]", value)[1], True
        case _:
            return cast("State", value), False


class _Part(Step[..., Any]):
    """One half of a class: the step of its `run`, or of its `run_continue`."""

    def __init__(self, owner: ClassStep, fn: Callable[..., Any], name: str, settings: Settings) -> None:
        super().__init__(fn, name, settings, owner.site)
        self._owner = owner
        self.is_async = owner.is_async

    def encode_result(self, value: Any) -> bytes:
        """Write what it adds to the state, or that it waits."""
        return super().encode_result(_written(value, self._owner, self._owner.cls.run, "run_continue"))

    def decode_result(self, data: bytes) -> Any:
        """Read the same."""
        update, waits = update_in(super().decode_result(data))
        return Continue(update) if waits else update

    def bind_undo(
        self, args: bytes, result: bytes | None, failure: Failure, resumes: Resumption | None = None
    ) -> Callable[[], Any]:
        """A function that makes one attempt of `rollback`, or of `rollback_continue` once its signal has come."""

        def attempt() -> Any:
            state: State = self.arguments.decode_named(args)["state"]
            added = {} if result is None else update_in(decode(result, Any))[0]
            return self._owner.roll_back({**state, **added}, failure, resumes)

        return attempt

    def undone(self, value: Any) -> Value:
        """What is recorded of a rollback: that it is done, or that it waits for a signal."""
        if not isinstance(value, Continue):
            return Value()
        written = _written(value, self._owner, self._owner.cls.rollback, "rollback_continue")
        data = encode(written[1], dict[str, Any], f"what {self.name}.rollback adds to the state")
        return Value(data, self._owner.rollback_signal)


class ClassStep:
    """A class of a flow.

    Attributes:
        signal: The name of the signal that its `run_continue` waits for: its own name, if it names none.
        rollback_signal: That of its `rollback_continue`.
        all: Its steps.
    """

    _known: ClassVar[dict[type, ClassStep]] = {}

    def __init__(self, cls: Any, where: str) -> None:
        self.cls = cls
        self.name: str = cls.__dict__.get("name", cls.__name__)
        self.site = site_of(cls.run)
        self.is_async = inspect.iscoroutinefunction(cls.run)
        options = {name: getattr(cls, name) for name in StepCallOptions.__annotations__ if hasattr(cls, name)}
        settings = settings_of(Settings(), options, f"{where}: {cls.__name__}")
        self.signal: str = getattr(cls, "signal", self.name)
        self.rollback_signal: str = getattr(cls, "rollback_signal", f"{self.name}.rollback")
        self.signal_timeout: timedelta | None = getattr(cls, "signal_timeout", None)
        if self.signal_timeout is not None:
            check_duration(self.signal_timeout, "signal_timeout", cls.__name__)
        self._run = _Part(self, self._runner(), self.name, settings)
        self._continue = (
            _Part(self, self._continuer(), f"{self.name}.continue", settings)
            if hasattr(cls, "run_continue")
            else None
        )
        if hasattr(cls, "rollback"):
            self._run.define_undo(self._undo(settings, where))
        self.all: tuple[Step[..., Any], ...] = (
            (self._run,) if self._continue is None else (self._run, self._continue)
        )

    def _undo(self, settings: Settings, where: str) -> UndoDefinition:
        cls, base = (
            self.cls,
            attrs.evolve(settings, retry=Retry(), timeout=None, deadline=None, heartbeat=None),
        )
        when: Any = getattr(cls, "undo_when", "attempted")
        if when not in ("completed", "attempted"):
            msg = f"{where}: {cls.__name__}.undo_when is 'completed' or 'attempted', got {describe(when)}"
            raise DefinitionError(msg)
        options = {
            name.removeprefix("undo_"): getattr(cls, name)
            for name in ("undo_retry", "undo_timeout")
            if hasattr(cls, name)
        }
        return UndoDefinition(
            fn=cls.rollback,
            takes=(),
            when=when,
            settings=settings_of(base, options, f"{where}: {cls.__name__}.rollback"),
            is_async=inspect.iscoroutinefunction(cls.rollback),
            site=site_of(cls.rollback),
        )

    # -- forwards ----------------------------------------------------------------------------------------------

    def _runner(self) -> Callable[..., Any]:
        cls = self.cls

        def run(state: dict[str, Any]) -> Any:
            return cls().run(state)

        return run

    def _continuer(self) -> Callable[..., Any]:
        cls = self.cls

        def run_continue(state: dict[str, Any], signal: Any, added: dict[str, Any]) -> Any:
            return _adding(added, cls().run_continue(signal, state))

        return run_continue

    def call_run(self, state: State) -> Call[Any]:
        """A call of `run`."""
        call = self._run(state)
        call.command = attrs.evolve(cast("CallStep", call.command), site=self.site)
        return call

    def call_continue(self, state: State, signal: object, added: State) -> Call[Any]:
        """A call of `run_continue`; `added` is what the class has added to the state so far."""
        assert self._continue is not None
        call = self._continue(state, signal, added)
        call.command = attrs.evolve(cast("CallStep", call.command), site=self.site, takes_over=self.name)
        return call

    # -- backwards ---------------------------------------------------------------------------------------------

    def roll_back(self, state: State, failure: Failure, resumes: Resumption | None) -> Any:
        """Run `rollback`, or go on with it."""
        one = self.cls()
        error = {"error": failure}
        if resumes is None:
            return one.rollback(state, **_taken(one.rollback, error))
        so_far: State = decode(resumes.so_far, Any) or {}
        signal = decode(resumes.signal, Any)
        go_on = one.rollback_continue
        return _adding(so_far, go_on(signal, {**state, **so_far}, **_taken(go_on, error)))


def class_step(cls: type, where: str) -> ClassStep:
    """The steps of a class; the same ones wherever it is listed.

    Raises:
        DefinitionError: It can't be a part of a flow.
    """
    made = ClassStep._known.get(cls)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - of this module
    if made is None:
        _check(cls, where)
        made = ClassStep._known[cls] = ClassStep(cls, where)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    for step in made.all:
        default_registry.add_step(step)
    return made


def _check(cls: type, where: str) -> None:
    name = cls.__name__
    if not callable(getattr(cls, "run", None)):
        msg = f"{where}: class {name} has no run\n  right:  class {name}:\n              def run(self, state): ..."
        raise DefinitionError(msg)
    for method, counterpart in (("run_continue", "run"), ("rollback_continue", "rollback")):
        if hasattr(cls, method) and not hasattr(cls, counterpart):
            msg = f"{where}: class {name} has {method} and no {counterpart}: it would never run"
            raise DefinitionError(msg)
    try:
        inspect.signature(cls).bind()
    except TypeError:
        msg = (
            f"{where}: class {name} can't be made without arguments: one is made for each attempt\n"
            f"  way out: take what it needs from the state, or give it as (({name}), {{...}})"
        )
        raise DefinitionError(msg) from None
    except ValueError:
        pass  # a class without a signature


def _written(value: Any, owner: ClassStep, method: Any, counterpart: str) -> Any:
    """A returned value in the form in which it is recorded."""
    name = f"{owner.cls.__name__}.{getattr(method, '__name__', 'run')}"
    if isinstance(value, Continue):
        if not hasattr(owner.cls, counterpart):
            msg = (
                f"{name} returned CONTINUE, and {owner.cls.__name__} has no {counterpart}\n"
                f"  right:  def {counterpart}(self, signal, state): ..."
            )
            raise DefinitionError(msg)
        return [_MARK, dict(value.update)]
    if value is None or isinstance(value, Mapping):
        return cast("State | None", value)
    msg = f"{name} returned {describe(value)}\n  right:  return None, a dict to be added to the state, or CONTINUE"
    raise DefinitionError(msg)


def _adding(added: State, value: Any) -> Any:
    """What a continuation returned, with what its class had added before."""
    if inspect.iscoroutine(value):
        return _adding_later(added, value)
    if isinstance(value, Continue):
        return Continue({**added, **value.update})
    if value is None or isinstance(value, Mapping):
        return {**added, **(cast("Mapping[str, Any]", value) if value else {})}
    return value


async def _adding_later(added: State, value: Coroutine[Any, Any, Any]) -> Any:
    return _adding(added, await value)


def _taken(method: Callable[..., Any], offered: Mapping[str, object]) -> dict[str, object]:
    """Of what is offered, what the method takes by name."""
    takes = inspect.signature(method).parameters
    return {name: value for name, value in offered.items() if name in takes}
