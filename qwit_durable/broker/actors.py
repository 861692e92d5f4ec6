"""The actors that bells are for: one that takes turns, and one for each step, under the step's name.

They never raise: what goes wrong is recorded in the store, and Dramatiq's Retries would lose it. A message that is no
bell is dropped with a warning. Their time limit is infinite: a step's `timeout` is kept by our own watchdog.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from dramatiq import Actor
from dramatiq import threading as dramatiq_threading

from qwit_durable.broker.bells import (
    IS_OWN_ACTOR,
    MOST_RUNS,
    MOST_STEPS,
    STEP_MARK,
    TURN_ACTOR,
    has_only_own_middleware,
)
from qwit_durable.errors import DefinitionError, describe
from qwit_durable.errors.interrupt import Interrupt
from qwit_durable.ids import parse_run_id
from qwit_durable.stores.rows import TURN, Ring

if TYPE_CHECKING:
    from dramatiq import Broker

    from qwit_durable.registry import StepLike

__all__ = ["declare_step", "declare_turn"]

_logger = logging.getLogger("qwit_durable.bells")

# Raised in our threads by its Shutdown and TimeLimit.
Interrupt.register(dramatiq_threading.Interrupt)

_OPTIONS: dict[str, Any] = {"max_retries": 0, "time_limit": float("inf"), "store_results": False}


def declare_turn(broker: Broker, queue: str, take_turns: Callable[[Sequence[Ring]], None]) -> None:
    """Declare the actor that takes turns; twice changes nothing."""
    if TURN_ACTOR in broker.get_declared_actors():
        return

    def turn(*args: object) -> None:
        rings = _turns_in(args, broker.get_declared_queues())
        if rings:
            take_turns(rings)
        else:
            _drop(TURN_ACTOR, args)

    Actor(turn, broker=broker, actor_name=TURN_ACTOR, queue_name=queue, priority=0, options=dict(_OPTIONS))


def _turns_in(args: tuple[Any, ...], queues: Collection[str]) -> Sequence[Ring]:
    """The turns that a bell asks for; none if the message is no bell. Of one run alone no queue is told."""
    match args:
        case (str(text),):
            texts: Sequence[object] = [text]
            queue = ""
        case (list(), str(queue)) if queue in queues:
            texts = cast("list[object]", args[0])
        case _:
            return ()
    ids = [parse_run_id(text) if isinstance(text, str) else None for text in texts]
    if None in ids or len(ids) > MOST_RUNS:
        return ()
    known = dict.fromkeys(run_id for run_id in ids if run_id is not None)
    return [Ring(run_id=run_id, position=TURN, queue=queue, name="") for run_id in known]


def declare_step(
    broker: Broker, queue: str, step: StepLike, make: Callable[[Sequence[Ring], bool], None]
) -> None:
    """Declare a step's actor under the step's name; twice changes nothing.

    `make` is told which steps a message is for, and whether they have to be made by the thread that has the message:
    somebody else's middleware, or an actor that was there before, may have prepared that.

    Where the step was made from an actor of the user's, that actor learns to tell bells from its own messages, which it
    follows as before.

    Raises:
        DefinitionError: An actor that is not ours has this name already.
    """
    name = step.name
    actors: dict[str, Any] = getattr(broker, "actors")  # noqa: B009 - half typed upstream
    known = actors.get(name)
    if known is not None:
        if getattr(known.fn, "is_qwit_step", False):
            return
        if known.fn is step.fn:
            known.fn = _telling_bells(known.fn, name, make)
            return
        msg = (
            f"step {name!r} can't have an actor on {broker!r}: one of that name is declared there already\n"
            f'  way out: @step(name="another name")'
        )
        raise DefinitionError(msg)

    def attempt(*args: object) -> None:
        if rings := _steps_in(args, name):
            make(rings, not has_only_own_middleware(broker))
        else:
            _drop(name, args)

    attempt.is_qwit_step = True  # type: ignore[attr-defined]
    setattr(attempt, IS_OWN_ACTOR, True)
    priority = getattr(step.settings, "priority", None) or 0
    Actor(
        attempt, broker=broker, actor_name=name, queue_name=queue, priority=priority, options=dict(_OPTIONS)
    )


def _steps_in(args: tuple[Any, ...], name: str) -> Sequence[Ring]:
    """The steps that a bell is for; none if the message is no bell. Of one alone no queue is told."""
    match args:
        case (str(text), str(position)) if text.startswith(STEP_MARK):
            told: list[object] = [(text.removeprefix(STEP_MARK), position)]
            queue = ""
        case (str(text), list(), str(queue)) if text == STEP_MARK:
            told = cast("list[object]", args[1])
        case _:
            return ()
    tasks = dict.fromkeys(map(_task_in, told))
    if None in tasks or len(told) > MOST_STEPS:
        return ()
    return [
        Ring(run_id=task[0], position=task[1], queue=queue, name=name) for task in tasks if task is not None
    ]


def _task_in(told: object) -> tuple[UUID, str] | None:
    match told:
        case (str(text), str(position)):
            run_id = parse_run_id(text)
            return None if run_id is None else (run_id, position)
        case _:
            return None


def _telling_bells(
    fn: Callable[..., Any], name: str, make: Callable[[Sequence[Ring], bool], None]
) -> Callable[..., Any]:
    @wraps(fn)
    def follow(*args: Any, **kwargs: Any) -> Any:
        rings = () if kwargs else _steps_in(args, name)
        return make(rings, True) if rings else fn(*args, **kwargs)  # noqa: FBT003 - alone

    follow.is_qwit_step = True  # type: ignore[attr-defined]
    return follow


def _drop(actor: str, args: tuple[object, ...]) -> None:
    _logger.warning(
        "a message for actor %r is no bell of a workflow and was dropped: %s; "
        "steps are not sent like actors, a workflow calls them",
        actor,
        describe(args),
    )
