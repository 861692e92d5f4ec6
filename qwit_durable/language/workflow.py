"""`@workflow`: a durable generator function.

Calling a workflow builds an inert call for another body to yield; `.start(...)` stores a run, through the `Durable`
that `current` names. The engine takes bodies from `body` and never touches the user's signature. Neighbours:
`definitions` checks the function, `options` holds the options.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from datetime import timedelta
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeAlias, TypeVar, cast, overload

import attrs

from qwit_durable.codec import ResultCodec, SignatureCodec, unfit_as_name
from qwit_durable.core.commands import CallWorkflow, Site
from qwit_durable.errors import DefinitionError, EncodingError, describe
from qwit_durable.language.calls import (
    Call,
    Uncalled,
    call_site,
    explained,
    refuse_in_step,
    refuse_oversized,
)
from qwit_durable.language.current import current_starter
from qwit_durable.language.definitions import check_body, check_plain, name_of, site_of
from qwit_durable.language.options import (
    CallOptions,
    StartOptions,
    WorkflowOptions,
    check_duration,
    refuse_unknown,
)
from qwit_durable.registry import default_registry

if TYPE_CHECKING:
    from typing import Unpack

    from qwit_durable.client import Handle

__all__ = ["BoundWorkflow", "ToStart", "Workflow", "WorkflowDefinition", "check_options", "workflow"]

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

#: The return annotation of a workflow's body: `Workflow[str]` is a body that returns a str.
Workflow: TypeAlias = Generator[Any, Any, T]

_OF_ROOTS_ONLY = ("id", "lane", "delay", "at", "on_conflict", "connection")
_DEFAULTS: WorkflowOptions = {
    "version": None,
    "queue": "default",
    "deadline": None,
    "on_undo_failure": "stop",
    "park_on_failure": False,
}


class WorkflowDecorator(Protocol):
    """What `@workflow(...)` returns."""

    def __call__(self, fn: Callable[P, Generator[Any, Any, R]], /) -> WorkflowDefinition[P, R]: ...


class WorkflowDefinition(Uncalled, Generic[P, R]):
    """A workflow. Calling it builds a call for another body to yield; `start` runs it by itself.

    Attributes:
        name: Under which its runs are stored.
        version: A label of the code, stored with each run; it decides nothing.
        queue: The broker queue on which its runs go on.
        deadline: How long a run may take in all.
        on_undo_failure: Whether unwinding stops at an undo that gave up, or goes on with the older ones.
        park_on_failure: Whether a failure of the body waits for a person instead of being unwound.
        fn: The generator function.
        site: Where it is defined.
    """

    def __init__(self, fn: Callable[..., Any], name: str, options: WorkflowOptions, site: Site) -> None:
        update_wrapper(self, fn)
        chosen: Any = {**_DEFAULTS, **options}
        self.name = name
        self.fn = fn
        self.site = site
        self.version: str | None = chosen["version"]
        self.queue: str = chosen["queue"]
        self.deadline: timedelta | None = chosen["deadline"]
        self.on_undo_failure = chosen["on_undo_failure"]
        self.park_on_failure: bool = chosen["park_on_failure"]
        self._arguments = SignatureCodec(fn)
        self._result = ResultCodec(fn)

    def __repr__(self) -> str:
        return f"<workflow {self.name!r} at {self.site}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """Build a call of this workflow as a sub-workflow; nothing runs until a body yields it.

        Raises:
            TypeError: The arguments don't fit the function's signature.
            EncodingError: An argument can't be stored; the message names it and the path inside it.
            MisuseError: A step is running here. Use `start` there.
        """
        return self.call_with(args, kwargs, {})

    def start(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Start a run. It is stored before this returns.

        Returns:
            Its handle.

        Raises:
            AmbiguousDurable: No `Durable` is the default here, or several are: use `durable.start(workflow, ...)`.
            TypeError: The arguments don't fit the function's signature.
            EncodingError: An argument can't be stored.

        >>> checkout.start(order).result(timeout=timedelta(seconds=10))
        'shipped'
        """
        return cast("Handle[R]", self.start_with(args, kwargs, StartOptions()))

    def to_start(self, *args: P.args, **kwargs: P.kwargs) -> ToStart[R]:
        """Say what `durable.start_many` is to start; nothing is checked or stored yet.

        >>> handles = durable.start_many(checkout.to_start(order) for _ in range(100))
        """
        return ToStart(self, args, kwargs, StartOptions())

    def options(self, **options: Unpack[CallOptions]) -> BoundWorkflow[P, R]:
        """Say how one run is started, or how one sub-workflow is called.

        Args:
            options: `id`: the run's id from outside, 1 to 255 characters. `lane`: where it queues; the runs of a lane
                begin in order, each when the one before has ended. `delay`: a timedelta to wait before it begins, or
                `at`: an aware datetime. `attributes`: flat facts by which runs can be found. `on_conflict`: what
                happens where a run of this id exists: `attach`, `fail` or `replace`. `deadline`: how long it may take
                in all. `connection`: yours to the store's database (psycopg's, Python's `sqlite3`, SQLAlchemy's or
                Django's over one), inside a transaction: the run begins if and only if that commits, at the next sweep
                or at once with `handle.ring()`; an `id` that is given stays locked until then, so keep it short; a
                place in a `lane` is taken then. A sub-workflow call takes `attributes` and `deadline` alone.

        >>> later = checkout.options(id=f"order-{order.id}", delay=timedelta(hours=1)).start(order)

        >>> durable = Durable("sqlite:///orders.db")
        >>> with sqlite3.connect("orders.db") as connection:
        ...     _ = connection.execute("CREATE TABLE orders (id TEXT)")
        ...     handle = durable.start(checkout.options(connection=connection), order)
        >>> handle.ring()
        """
        where = f"workflow {self.name!r}, options() at {call_site()}"
        refuse_unknown(options, CallOptions, where)
        return BoundWorkflow(self, options)

    # -- for the engine ----------------------------------------------------------------------------------------

    def encode_args(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """Write the arguments of a run, defaults applied. Raises TypeError and EncodingError as a call does."""
        try:
            stored = self._arguments.encode(args, kwargs)
            refuse_oversized(stored, f"the arguments of workflow {self.name!r}")
            return stored
        except EncodingError as error:
            raise explained(error, args, kwargs) from error

    def normalise_args(self, data: bytes) -> bytes:
        """What the stored arguments would be, had they been written with today's types."""
        return self._arguments.normalise(data)

    def body(self, args: bytes) -> Callable[[], Generator[Any, Any, Any]]:
        """A factory of fresh bodies with these arguments; each reads them anew, so that no two share a value."""

        def fresh() -> Generator[Any, Any, Any]:
            positional, named = self._arguments.decode(args)
            return cast("Generator[Any, Any, Any]", self.fn(*positional, **named))

        return fresh

    def encode_result(self, value: Any) -> bytes:
        """Write the run's value, as `Workflow[T]` says. Raises EncodingError."""
        return self._result.encode(value)

    def decode_result(self, data: bytes) -> Any:
        """Read the run's value. Raises EncodingError."""
        return self._result.decode(data)

    def start_with(self, args: tuple[Any, ...], kwargs: dict[str, Any], options: StartOptions) -> Any:
        """Start a run with these options through the `Durable` that is meant here."""
        return current_starter(self.name).start_run(self, args, kwargs, options)

    def call_with(self, args: tuple[Any, ...], kwargs: dict[str, Any], options: CallOptions) -> Call[R]:
        """Build a sub-workflow call with these options."""
        remedy = f"{self.name}.start(...) starts a run of its own; or call it in the workflow"
        refuse_in_step(f"workflow {self.name!r}", remedy)
        attributes = options.get("attributes")
        command = CallWorkflow(
            name=self.name,
            args=self.encode_args(args, kwargs),
            deadline=options.get("deadline") or self.deadline,
            attributes=dict(attributes) if attributes else None,
            decode=self._result.decode,
            normalise=self._arguments.normalise,
            site=call_site(),
        )
        return Call(command, f"workflow {self.name!r}")


class BoundWorkflow(Generic[P, R]):
    """A workflow with options for one start or one call; made by `workflow.options(...)`."""

    def __init__(self, definition: WorkflowDefinition[P, R], options: CallOptions) -> None:
        self.definition = definition
        self.start_options = StartOptions(**cast("dict[str, Any]", options))
        self._given = options

    def __repr__(self) -> str:
        return f"<workflow {self.definition.name!r} with {', '.join(self._given)}>"

    def start(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Start a run with these options; otherwise as `WorkflowDefinition.start`."""
        return cast("Handle[R]", self.definition.start_with(args, kwargs, self.start_options))

    def to_start(self, *args: P.args, **kwargs: P.kwargs) -> ToStart[R]:
        """Say what `durable.start_many` is to start, with these options; otherwise as `WorkflowDefinition.to_start`."""
        return ToStart(self.definition, args, kwargs, self.start_options)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """Build a call of a sub-workflow with these options; otherwise as `WorkflowDefinition.__call__`.

        Raises:
            TypeError: An option is given that only a run of its own can have.
        """
        wrong = [name for name in _OF_ROOTS_ONLY if self._given.get(name) is not None]
        if wrong:
            name = self.definition.name
            listed = ", ".join(f"{n}=" for n in wrong)
            msg = (
                f"workflow {name!r} is called as a sub-workflow at {call_site()} with {listed}\n"
                f"  likely cause: options of a start; a tree shares its root's lane and id, and its parent says when\n"
                f"  right:  yield from {name}.options(attributes=..., deadline=...)(...)\n"
                f"  or:     {name}.options({listed}...).start(...) for the root"
            )
            raise TypeError(msg)
        return self.definition.call_with(args, kwargs, self._given)


@attrs.frozen(repr=False)
class ToStart(Generic[R]):
    """A run that `durable.start_many` is to start; made by `workflow.to_start(...)`."""

    definition: WorkflowDefinition[Any, R]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    options: StartOptions

    def __repr__(self) -> str:
        return f"<run of workflow {self.definition.name!r}, to be started>"


def check_options(options: Mapping[str, object], where: str) -> None:
    """Refuse options of the wrong type. Raises DefinitionError."""
    if options.get("deadline") is not None:
        try:
            check_duration(options["deadline"], "deadline", where, may_be_zero=False)
        except (TypeError, ValueError) as error:
            raise DefinitionError(str(error)) from None
    version, queue = options.get("version"), options.get("queue", "default")
    choice = options.get("on_undo_failure", "stop")
    texts = [(name, text) for name, text in (("version", version), ("queue", queue)) if isinstance(text, str)]
    wrong = (
        f"version is a str, got {describe(version)}"
        if not isinstance(version, (str, type(None)))
        else f"queue is a str, got {describe(queue)}"
        if not isinstance(queue, str)
        else f"on_undo_failure is 'stop' or 'continue', got {describe(choice)}"
        if choice not in ("stop", "continue")
        else next((f"{name} {why}" for name, text in texts if (why := unfit_as_name(text))), None)
    )
    if wrong is not None:
        msg = f"{where}: {wrong}"
        raise DefinitionError(msg)


@overload
def workflow(
    fn: Callable[P, Generator[Any, Any, R]], /, **options: Unpack[WorkflowOptions]
) -> WorkflowDefinition[P, R]: ...
@overload
def workflow(**options: Unpack[WorkflowOptions]) -> WorkflowDecorator: ...
def workflow(fn: Any = None, /, **options: Any) -> Any:
    """Make a generator function a workflow: a body that calls steps and survives the death of its process.

    The body is run again from its beginning after a crash, with every value it got before: it must be deterministic,
    branching on its arguments, on those values and on the verbs, on nothing else. Effects belong in steps.

    Args:
        fn: The generator function, annotated `-> Workflow[T]`.
        options: `name`: by default the function's. `version`: a label stored with each run. `queue`: the broker queue,
            by default `default`. `deadline`: how long a run may take in all, a timedelta. `on_undo_failure`: `stop`
            (the default) or `continue` with the older undos, where one gave up. `park_on_failure`: whether a failure of
            the body waits for a person (`stuck`: retry, skip, rollback) instead of being unwound at once.

    Returns:
        A `WorkflowDefinition`: `.start(...)` runs it, calling it calls it as a sub-workflow.

    Raises:
        DefinitionError: An option is unknown or wrong, or the function is no generator function, or it yields within
            `finally`. It is a TypeError too.

    >>> @workflow
    ... def checkout(order: Order) -> Workflow[str]:
    ...     payment = yield from charge(order.id, order.cents)
    ...     return payment.id
    """
    refuse_unknown(options, WorkflowOptions, f"@workflow at {call_site()}")

    def define(target: Any) -> Any:
        plain = check_plain(target, "workflow")
        name = name_of(plain, options.get("name"), "workflow")
        check_body(plain, name)
        site = site_of(plain)
        check_options(options, f"workflow {name!r} ({site})")
        made: WorkflowDefinition[Any, Any] = WorkflowDefinition(
            plain, name, cast("WorkflowOptions", options), site
        )
        default_registry.add_workflow(made)
        return made

    return define if fn is None else define(fn)
