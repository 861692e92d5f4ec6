"""Asking guards before steps begin, in the turn that hands the steps over or runs them.

They are asked once everything the body has seen is durable, and their answers are facts: recorded whatever else has
happened to the run meanwhile. `Scheduled.given` says that a command was asked about, also where nothing was changed.
"""

from __future__ import annotations

from collections.abc import Mapping

from qwit_durable.core import Advance, CallStep, Kind, MapSteps, Pending, Resolved, Scheduled
from qwit_durable.engine.attempting.guarding import before_step, info_of
from qwit_durable.engine.carrying import Pieces
from qwit_durable.engine.ports import Services
from qwit_durable.engine.turning.handover import CALLS_AT_ONCE, queue_of
from qwit_durable.engine.turning.hold import Hold
from qwit_durable.errors import Failure
from qwit_durable.observers.base import AttemptInfo

__all__ = ["before_calls", "before_steps"]


def before_steps(services: Services, hold: Hold, decision: Advance) -> Pieces[bool]:
    """Ask about the steps that are about to begin; tell whether there were any."""
    if not services.guards:
        return False
    fresh = [pending for pending in decision.begin if _is_to_ask(pending)]
    if not fresh:
        return False
    if not hold.is_clean:
        yield from hold.commit()
    for pending in fresh:
        assert isinstance(pending.command, CallStep)
        yield from hold.make_room(pending.command.name)
        _ask(services, hold, pending)
    return True


def _is_to_ask(pending: Pending) -> bool:
    is_call = isinstance(pending.command, CallStep) and not pending.position.startswith("~")
    return is_call and pending.given is None and pending.attempts == 0


def _ask(services: Services, hold: Hold, pending: Pending) -> None:
    command = pending.command
    assert isinstance(command, CallStep)
    answer = _answer(services, hold, command, pending.position)
    if isinstance(answer, Failure):
        _record_veto(services, hold, command, pending.position, Kind.STEP, answer)
    else:
        allowed = Scheduled(
            position=pending.position, kind=Kind.STEP, name=command.name, args=command.args, given=answer
        )
        hold.record_fact(allowed)


def before_calls(services: Services, hold: Hold, pending: Pending) -> Pieces[Mapping[int, bytes] | None]:
    """What the calls of a map that are handed over next are to get, by their numbers; None if one was vetoed."""
    command = pending.command
    if not services.guards or not isinstance(command, MapSteps):
        return {}
    if not hold.is_clean:
        yield from hold.commit()
    yield from hold.make_room(command.name)
    given: dict[int, bytes] = {}
    for index in range(pending.handed, min(pending.handed + CALLS_AT_ONCE, len(command.items))):
        call = CallStep(name=command.name, args=command.items[index], settings=command.settings)
        position = f"{pending.position}.{index}"
        answer = _answer(services, hold, call, position)
        if isinstance(answer, Failure):
            _record_veto(services, hold, call, position, Kind.MAP, answer)
            return None
        given[index] = answer
    return given


def _answer(services: Services, hold: Hold, call: CallStep, position: str) -> bytes | Failure:
    about = info_of(hold.run, call.name, position, queue_of(services, hold.run, call))
    return before_step(services, about, call.args)


def _record_veto(
    services: Services, hold: Hold, call: CallStep, position: str, kind: Kind, why: Failure
) -> None:
    now = hold.now()
    told = AttemptInfo(
        run=hold.run,
        generation=hold.live.generation,
        step=call.name,
        position=position,
        attempt=0,
        queue=queue_of(services, hold.run, call),
        inline=True,
        started_at=now,
        ended_at=now,
        failure=why,
    )
    event = Resolved(position=position, kind=kind, name=call.name, args=call.args, outcome=why, attempt=0)
    hold.record_fact(event, timer=None, then=lambda: services.observers.attempt_finished(told))
