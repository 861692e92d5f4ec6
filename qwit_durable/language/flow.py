"""`flow`: a linear workflow made of classes, for people who come from QWIT or WorkflowEx.

A flow is a workflow like any other: its body is written here once, its classes are steps (`class_step`), and what it
can do beyond a list (branches, parallel steps, loops) is written as a generator.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

import attrs

from qwit_durable.core.commands import Site
from qwit_durable.errors import DefinitionError, describe
from qwit_durable.language.calls import Call, call_site
from qwit_durable.language.class_step import CONTINUE, ClassStep, Continue, class_step, update_in
from qwit_durable.language.options import FlowOptions, refuse_unknown
from qwit_durable.language.step import Step
from qwit_durable.language.verbs import wait_signal
from qwit_durable.language.workflow import WorkflowDefinition, check_options
from qwit_durable.registry import default_registry

if TYPE_CHECKING:
    from typing import Unpack

__all__ = ["CONTINUE", "Continue", "FlowDefinition", "flow"]

State = dict[str, Any]
Play = Generator[Any, Any, State]


class Runs(Protocol):
    """A class that may stand in a flow."""

    def run(self, state: Any, /) -> Any: ...


Part = type[Runs] | Step[..., Any] | WorkflowDefinition[..., Any]


@attrs.frozen
class _Listed:
    """One entry of a flow's list: plays itself with the state so far, and returns what it adds to it."""

    play: Callable[[State], Play]
    steps: tuple[Step[..., Any], ...] = ()


class FlowDefinition(WorkflowDefinition[[State], State]):
    """A workflow made by `flow`.

    Attributes:
        steps: The steps that its classes are.
    """

    def __init__(self, name: str, listed: Sequence[_Listed], options: FlowOptions, site: Site) -> None:
        def body(state: dict[str, Any]) -> Generator[Any, Any, dict[str, Any]]:
            for one in listed:
                state = {**state, **(yield from one.play(state))}
            return state

        body.__name__ = body.__qualname__ = name
        super().__init__(body, name, cast("Any", options), site)
        self.steps = tuple(step for one in listed for step in one.steps)


def flow(
    name: str, parts: Sequence[Part | tuple[Part, Mapping[str, Any]]], /, **options: Unpack[FlowOptions]
) -> WorkflowDefinition[[dict[str, Any]], dict[str, Any]]:
    """Make a workflow of a list: each part gets the state, and adds what it returns to it.

    On a failure that no retry mends, and on a cancel, the `rollback` of every class that has begun runs, newest first,
    that of the failing one included; a class with `undo_when = "completed"` is rolled back only if it had completed. A
    rollback gets the state that its `run` got, with what its own class has added. All of it is durable as steps are:
    each `run` and `rollback` is recorded once and may be attempted more than once.

    Args:
        name: Under which its runs are stored.
        parts: Classes with `run(self, state)`, and if need be `rollback(self, state)`, `run_continue(self, signal,
            state)` and `rollback_continue(self, signal, state)`; further flows, which run as sub-workflows; steps and
            workflows, which take by name what they need from the state, their value being added if it is a dict, else
            under their name. `(part, {"currency": "CHF"})` gives a part values of its own, seen by no other; where the
            state has one of the same name, the state's counts.
        options: `version`, `queue`, `deadline`, `on_undo_failure` and `park_on_failure`, as of `@workflow`. Options of
            a class are attributes of it: `name`, `queue`, `priority`, `retry`, `timeout`, `deadline`, `heartbeat`,
            `dispatch`, `transactional`, as of `@step`; `undo_when`, `undo_retry`, `undo_timeout`; `signal`,
            `signal_timeout` and `rollback_signal`.

    Returns:
        A workflow that takes the first state and returns the last one.

    Raises:
        DefinitionError: A part or an option is wrong.

    >>> shop = flow("shop", [Reserve, (Charge, {"currency": "CHF"}), Ship])
    >>> shop.start({"order": "A-1"}).result()
    {'order': 'A-1', 'parcel': 7, 'payment': 'p-1'}
    """
    site = call_site()
    where = f"flow {name!r} ({site})"
    given: Mapping[str, Any] = options
    refuse_unknown(given, FlowOptions, where)
    if not isinstance(cast("object", name), str) or not name:
        msg = (
            f"{where}: the name comes first, got {describe(name)}\n  right:  flow('shop', [Reserve, Charge])"
        )
        raise DefinitionError(msg)
    check_options(given, where)
    if not parts:
        msg = f"{where}: a flow needs at least one part\n  right:  flow({name!r}, [Reserve, Charge])"
        raise DefinitionError(msg)
    made = FlowDefinition(name, [_listed(part, where) for part in parts], options, site)
    default_registry.add_workflow(made)
    return made


def _listed(part: object, where: str) -> _Listed:
    literals: Mapping[str, Any] = {}
    if isinstance(part, tuple):
        pair = cast("tuple[object, ...]", part)
        if len(pair) != 2 or not isinstance(pair[1], Mapping):  # noqa: PLR2004 - a part and its values
            msg = f"{where}: a part with values of its own is (part, {{...}}), got {describe(pair)}"
            raise DefinitionError(msg)
        part, literals = pair[0], cast("Mapping[str, Any]", pair[1])
    if isinstance(part, FlowDefinition):
        inner = part
        return _Listed(lambda state: _play_flow(inner, {**literals, **state}))
    if isinstance(part, (Step, WorkflowDefinition)):
        called = cast("Step[..., Any] | WorkflowDefinition[..., Any]", part)
        return _Listed(lambda state: _play_by_name(called, {**literals, **state}))
    if isinstance(part, type):
        steps = class_step(part, where)
        return _Listed(lambda state: _play_class(steps, {**literals, **state}), steps.all)
    msg = (
        f"{where}: {describe(part)} can't be part of a flow\n"
        f"  parts are classes with run(self, state), flows, steps and workflows, or (part, {{...}})"
    )
    raise DefinitionError(msg)


def _play_class(steps: ClassStep, state: State) -> Play:
    given = yield from steps.call_run(state)
    update, waits = update_in(given)
    while waits:
        signal = yield from wait_signal(steps.signal, timeout=steps.signal_timeout)
        given = yield from steps.call_continue({**state, **update}, signal, update)
        update, waits = update_in(given)
    return update


def _play_flow(inner: FlowDefinition, state: State) -> Play:
    after = yield from inner(state)
    return {name: value for name, value in after.items() if name not in state or state[name] != value}


def _play_by_name(called: Step[..., Any] | WorkflowDefinition[..., Any], state: State) -> Play:
    known = {"state": state, **state}
    wanted = {name: known[name] for name in inspect.signature(called.fn).parameters if name in known}
    call: Call[Any] = called(**wanted)
    value = yield from call
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, Any]", value))
    return {} if value is None else {called.name: value}
