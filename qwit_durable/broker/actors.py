"""The actors that bells are for: one that takes turns, and one for each step, under the step's name.

They never raise: what goes wrong is recorded in the store, and Dramatiq's Retries would lose it. A message that is no
bell is dropped with a warning. Their time limit is infinite: a step's `timeout` is kept by our own watchdog.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from dramatiq import Actor

from qwit_durable.broker.bells import TURN_ACTOR
from qwit_durable.errors import DefinitionError, describe
from qwit_durable.ids import parse_run_id

if TYPE_CHECKING:
    from dramatiq import Broker

    from qwit_durable.registry import StepLike

__all__ = ["declare_step", "declare_turn"]

_logger = logging.getLogger("qwit_durable.bells")

_OPTIONS: dict[str, Any] = {"max_retries": 0, "time_limit": float("inf"), "store_results": False}


def declare_turn(broker: Broker, queue: str, take_turn: Callable[[UUID], None]) -> None:
    """Declare the actor that takes turns; twice changes nothing."""
    if TURN_ACTOR in broker.get_declared_actors():
        return

    def turn(*args: object) -> None:
        match args:
            case (str(text),) if (run_id := parse_run_id(text)) is not None:
                take_turn(run_id)
            case _:
                _drop(TURN_ACTOR, args)

    Actor(turn, broker=broker, actor_name=TURN_ACTOR, queue_name=queue, priority=0, options=dict(_OPTIONS))


def declare_step(broker: Broker, queue: str, step: StepLike, make: Callable[[UUID, str, str], None]) -> None:
    """Declare a step's actor under the step's name; twice changes nothing.

    Raises:
        DefinitionError: An actor that is not ours has this name already.
    """
    name = step.name
    actors: dict[str, Any] = getattr(broker, "actors")  # noqa: B009 - half typed upstream
    known = actors.get(name)
    if known is not None:
        if getattr(known.fn, "is_qwit_step", False) or getattr(step, "actor", None) is known:
            return
        msg = (
            f"step {name!r} can't have an actor on {broker!r}: one of that name is declared there already\n"
            f'  way out: @step(name="another name")'
        )
        raise DefinitionError(msg)

    def attempt(*args: object) -> None:
        match args:
            case (str(text), str(position)) if (run_id := parse_run_id(text)) is not None:
                make(run_id, position, name)
            case _:
                _drop(name, args)

    attempt.is_qwit_step = True  # type: ignore[attr-defined]
    priority = getattr(step.settings, "priority", None) or 0
    Actor(
        attempt, broker=broker, actor_name=name, queue_name=queue, priority=priority, options=dict(_OPTIONS)
    )


def _drop(actor: str, args: tuple[object, ...]) -> None:
    _logger.warning(
        "a message for actor %r is no bell of a workflow and was dropped: %s; "
        "steps are not sent like actors, a workflow calls them",
        actor,
        describe(args),
    )
