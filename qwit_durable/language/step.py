"""`@step`: a unit of work with effects.

Calling a step builds an inert call and checks its arguments; the plain function stays at `.fn`. What the engine needs
to run an attempt (`bind`, `bind_undo`, `encode_result`) is here too, so that it never touches the user's signature.
Neighbours: `undo` checks undos, `options` holds the options, `registry` makes steps known by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from copy import copy
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, overload

import attrs

from qwit_durable.codec import ResultCodec, SignatureCodec
from qwit_durable.core.building import Sink, where
from qwit_durable.core.commands import CallStep, Resumption, Settings, Site
from qwit_durable.core.outcome import Value
from qwit_durable.core.retry import Retry
from qwit_durable.errors import DefinitionError, EncodingError, Failure, describe
from qwit_durable.language.calls import (
    Call,
    Uncalled,
    call_site,
    explained,
    refuse_in_step,
    refuse_oversized,
)
from qwit_durable.language.definitions import check_plain, name_of, site_of
from qwit_durable.language.options import (
    StepCallOptions,
    StepOptions,
    UndoOptions,
    refuse_unknown,
)
from qwit_durable.language.settings import refuse_callable_retry, settings_of
from qwit_durable.language.undo import UndoDefinition, check_undo
from qwit_durable.registry import default_registry

if TYPE_CHECKING:
    from typing import Unpack

__all__ = ["Step", "step"]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
F = TypeVar("F", bound=Callable[..., Any])


class _Actor(Protocol[P, R_co]):
    """A Dramatiq actor, as far as a step is concerned."""

    actor_name: str
    queue_name: str

    @property
    def fn(self) -> Callable[P, R_co]: ...


class StepDecorator(Protocol):
    """What `@step(...)` returns."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Step[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Step[P, R]: ...


class _Shared:
    """What a step and its copies have in common."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.arguments = SignatureCodec(fn)
        self.result = ResultCodec(fn)
        self.undo: UndoDefinition | None = None
        # Bound once, for all commands.
        self.decode = self.result.decode
        self.normalise = self.arguments.normalise


class Step(Uncalled, Generic[P, R]):
    """A step. Calling it builds a call for a workflow's body to yield.

    Attributes:
        name: Under which it is stored in histories.
        fn: The plain function.
        settings: How its attempts are carried out.
        is_async: Whether `fn` is an `async def`.
        site: Where it is defined.
        is_changed: Whether this is a copy made by `options()`.
    """

    def __init__(self, fn: Callable[..., Any], name: str, settings: Settings, site: Site) -> None:
        update_wrapper(self, fn)
        self.name = name
        self.fn: Callable[P, Any] = fn
        self.is_changed = False
        self.settings = settings
        self.is_async = inspect.iscoroutinefunction(fn)
        self.site = site
        self._shared = _Shared(fn)
        self._text = f"step {name!r}"
        self._where = f"the arguments of {self._text}"

    def __repr__(self) -> str:
        return f"<step {self.name!r} at {self.site}>"

    @property
    def undo_definition(self) -> UndoDefinition | None:
        """How the step is undone, or None."""
        return self._shared.undo

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """Build a call of this step; nothing runs until a body yields it.

        Raises:
            TypeError: The arguments don't fit the function's signature.
            EncodingError: An argument can't be stored; the message names it and the path inside it.
            MisuseError: A step is running here. Call `.fn` there.
        """
        here = where()
        if not (here is None or isinstance(here, Sink)):
            refuse_in_step(
                self._text, f"{self.name}.fn(...) runs it as part of this step; or call both in the workflow"
            )
        shared = self._shared
        command = CallStep(
            name=self.name,
            args=self.encode_call(args, kwargs),
            settings=self.settings,
            is_changed=self.is_changed,
            undo_when=shared.undo.when if shared.undo is not None else None,
            decode=shared.decode,
            normalise=shared.normalise,
            site=call_site(),
        )
        return Call(command, self._text)

    def options(self, **options: Unpack[StepCallOptions]) -> Step[P, R]:
        """Copy the step with some options changed, for one call or a few.

        Args:
            options: Any option of `@step` except `name`; the wait of a `retry` by numbers, not by a callable.

        >>> receipt = yield from charge.options(timeout=timedelta(minutes=5))(order.id, order.cents)
        """
        where = f"step {self.name!r}, options() at {call_site()}"
        refuse_unknown(options, StepCallOptions, where)
        refuse_callable_retry(options, where)
        changed = copy(self)
        changed.is_changed = True
        changed.settings = settings_of(self.settings, options, where)
        return changed

    @overload
    def undo(self, fn: F, /) -> F: ...
    @overload
    def undo(self, /, **options: Unpack[UndoOptions]) -> Callable[[F], F]: ...
    def undo(self, fn: Any = None, /, **options: Any) -> Any:
        """Say how this step is undone; a decorator that returns the plain function.

        The undo takes, by name, any of the step's parameters, `result` (the step's value, or None unless it completed)
        and `error` (a `Failure`: why the run is unwound). It is a step itself: it may be attempted more than once.

        Args:
            fn: The function, where the decorator is used without options.
            options: `when`: `completed` (the default): owed once the step's success is recorded; `attempted`: owed as
                soon as an attempt may have begun. `retry`: as a step's, by default `Retry()`. `timeout`: bound on one
                attempt of the undo, by default none. `heartbeat`: as a step's, by default none. `transactional`: as a
                step's, by default what the step is.

        Raises:
            DefinitionError: It takes something else, or the step has an undo already.

        >>> @charge.undo(when="attempted")
        ... def refund(order_id: str, result: Payment | None) -> None: ...
        """
        where = f"{self.name}.undo() at {call_site()}"
        refuse_unknown(options, UndoOptions, where)

        def define(undo: Any) -> Any:
            checked, takes = check_undo(undo, self.name, self._shared.arguments.parameters)
            site = site_of(checked)
            known = self._shared.undo
            if known is not None and known.site != site:
                msg = f"step {self.name!r} has two undos\n  first:  {known.site}\n  second: {site}\n  way out: keep one"
                raise DefinitionError(msg)
            when = options.get("when", "completed")
            if when not in ("completed", "attempted"):
                msg = f"{where}: when is 'completed' or 'attempted', got {describe(when)}"
                raise DefinitionError(msg)
            base = attrs.evolve(self.settings, retry=Retry(), timeout=None, deadline=None, heartbeat=None)
            self._shared.undo = UndoDefinition(
                fn=checked,
                takes=takes,
                when=when,
                settings=settings_of(base, {n: v for n, v in options.items() if n != "when"}, where),
                is_async=inspect.iscoroutinefunction(checked),
                site=site,
            )
            return undo

        return define if fn is None else define(fn)

    def define_undo(self, undo: UndoDefinition) -> None:
        """Say how this step is undone, by a definition made elsewhere."""
        self._shared.undo = undo

    def encode_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """Write the arguments of one call. Raises TypeError and EncodingError as a call does."""
        try:
            stored = self._shared.arguments.encode(args, kwargs)
            refuse_oversized(stored, self._where)
        except EncodingError as error:
            raise explained(error, args, kwargs) from error
        return stored

    # -- for the engine ----------------------------------------------------------------------------------------

    def bind(self, args: bytes) -> Callable[[], Any]:
        """A function that makes one attempt: it reads the arguments and runs `fn` (a coroutine if `is_async`)."""

        def attempt() -> Any:
            positional, named = self._shared.arguments.decode(args)
            return self.fn(*positional, **named)

        return attempt

    @property
    def arguments(self) -> SignatureCodec:
        """Writes and reads its arguments."""
        return self._shared.arguments

    def bind_undo(
        self, args: bytes, result: bytes | None, failure: Failure, resumes: Resumption | None = None
    ) -> Callable[[], Any]:
        """A function that makes one attempt of the undo, passing what it asks for.

        `result` is None where the step did not complete. Raises DefinitionError where there is no undo any more.
        """
        _ = resumes
        undo = self._shared.undo
        if undo is None:
            msg = (
                f"step {self.name!r} ({self.site}) has no undo, and the run owes one\n"
                f"  likely cause: it was removed while runs that need it were open\n"
                f"  way out: define it again with @{self.name}.undo"
            )
            raise DefinitionError(msg)
        definition = undo

        def attempt() -> Any:
            known = self._shared.arguments.decode_named(args)
            known["error"] = failure
            if "result" in definition.takes:
                known["result"] = None if result is None else self._shared.result.decode(result)
            return definition.fn(**{name: known[name] for name in definition.takes})

        return attempt

    def undone(self, value: Any) -> Value:
        """What is recorded of an undo that returned `value`."""
        _ = value
        return Value()

    def encode_result(self, value: Any) -> bytes:
        """Write the step's value, as its return annotation says. Raises EncodingError."""
        return self._shared.result.encode(value)

    def decode_result(self, data: bytes) -> Any:
        """Read the step's value. Raises EncodingError."""
        return self._shared.result.decode(data)


@overload
def step(fn: _Actor[P, R], /, **options: Unpack[StepOptions]) -> Step[P, R]: ...
@overload
def step(fn: Callable[P, Coroutine[Any, Any, R]], /, **options: Unpack[StepOptions]) -> Step[P, R]: ...
@overload
def step(fn: Callable[P, R], /, **options: Unpack[StepOptions]) -> Step[P, R]: ...
@overload
def step(**options: Unpack[StepOptions]) -> StepDecorator: ...
def step(fn: Any = None, /, **options: Any) -> Any:
    """Make a function a step: a unit of work with effects that a workflow's body calls.

    Its success is recorded once; its code may run more than once (at least one attempt, exactly one recorded value), so
    make its effects safe to repeat, with `current().idempotency_key` where the other side takes a key. Arguments and
    value are stored as JSON by their annotations.

    Args:
        fn: The function, `async def` or not, or a Dramatiq actor: its function under its name, on its queue unless that
            is Dramatiq's default; its own Retries do not apply.
        options: `name`: by default the function's. `queue`: by default the workflow's. `priority`: Dramatiq's, lower
            runs first. `retry`: a `Retry`, or a callable `(attempt, error) -> timedelta`; by default 5 attempts.
            `timeout`: bound on one attempt, a timedelta. `deadline`: bound on all attempts together, a timedelta.
            `dispatch`: `inline` or `queue`; by default inline where the worker that holds the run consumes the step's
            queue. `heartbeat`: how long an attempt may go without `current().heartbeat(...)`, a timedelta.
            `transactional`: `current().connection` is there, and what is written through it commits with the
            step's checkpoint, or not at all: exactly once.

    Returns:
        A `Step`: calling it builds an inert call; `.fn` is the plain function.

    Raises:
        DefinitionError: An option is unknown or wrong, or the function can't be a step. It is a TypeError too.

    >>> @step(retry=Retry(max_attempts=5), timeout=timedelta(seconds=30))
    ... def charge(order_id: str, cents: int) -> Payment: ...
    """
    where = f"@step at {call_site()}"
    refuse_unknown(options, StepOptions, where)

    def define(target: Any) -> Any:
        chosen = dict(options)
        if hasattr(target, "actor_name") and hasattr(target, "fn"):
            chosen["name"] = chosen.get("name") or target.actor_name
            if target.queue_name != "default":
                chosen.setdefault("queue", target.queue_name)
            target = target.fn
        plain = check_plain(target, "step")
        name = name_of(plain, chosen.get("name"), "step")
        site = site_of(plain)
        if inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain):
            msg = (
                f"step {name!r} ({site}) is a generator function: a step runs once and returns\n"
                f"  likely cause: @step where @workflow was meant\n"
                f"  right:  @workflow\n          def {name}(...) -> Workflow[...]"
            )
            raise DefinitionError(msg)
        made: Step[Any, Any] = Step(
            plain, name, settings_of(Settings(), chosen, f"step {name!r} ({site})"), site
        )
        default_registry.add_step(made)
        return made

    return define if fn is None else define(fn)
