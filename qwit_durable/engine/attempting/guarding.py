"""Asking guards about one step: what it gets, and what it gave.

Nothing is written here. Where guards are asked and how their answers are recorded: `asking` before a step, `attempts`
afterwards, within the attempt and so before a transaction of the step's commits.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import attrs

from qwit_durable.codec import check_size, decode, encode
from qwit_durable.core import Value
from qwit_durable.engine.ports import Services
from qwit_durable.errors import Failure, UnknownName, Veto, describe
from qwit_durable.errors.interrupt import is_interrupt
from qwit_durable.language.guards import Guard, StepInfo
from qwit_durable.observers.base import AttemptInfo
from qwit_durable.stores.rows import RunRow

if TYPE_CHECKING:
    from qwit_durable.engine.attempting.attempts import Work
    from qwit_durable.registry import StepLike

__all__ = ["Refusal", "after_step", "before_step"]

_logger = logging.getLogger("qwit_durable.guards")


@attrs.frozen(kw_only=True)
class Refusal(Failure):
    """The failure of a step whose success a guard refused: no other attempt follows.

    `value` is what the step gave, for its undo; None where that went with its transaction.
    """

    value: bytes | None = None


def before_step(services: Services, info: StepInfo, args: bytes) -> bytes | Failure:
    """What a step is to get, or why it does not begin. `info.args` is filled in here."""
    try:
        step = services.registry.step(info.step)
    except UnknownName:
        step = None
    for guard in services.guards:
        try:
            found = attrs.evolve(info, args=_read(step, args, info.step))
            changes = guard.before_step(found)
            if changes is not None:
                args = _changed(step, args, changes, info.step, guard)
                check_size(args, f"the arguments of step {info.step!r}", services.settings.limit_bytes)
        except BaseException as error:  # whatever stops a guard stops the step
            if is_interrupt(error):
                raise
            return _refused(guard, "before_step", info, error)
    return args


def after_step(services: Services, work: Work, info: AttemptInfo, data: bytes) -> Value | Failure:
    """What is to be recorded of a step that gave `data`."""
    if not services.guards or info.is_undo:
        return Value(data)
    step = work.step
    for guard in services.guards:
        about = info_of(info.run, info.step, info.position, info.queue, attempt=info.attempt)
        try:
            about = attrs.evolve(about, args=step.arguments.decode_named(work.args))
            other = guard.after_step(about, step.decode_result(data))
            if other is not None:
                data = step.encode_result(other)
                check_size(data, f"the result of step {info.step!r}", services.settings.limit_bytes)
        except BaseException as error:  # whatever stops a guard refuses the value
            if is_interrupt(error):
                raise
            failure = _refused(guard, "after_step", about, error)
            value = None if work.settings.transactional else data
            return Refusal(**attrs.asdict(failure, recurse=False), value=value)
    return Value(data)


def info_of(run: RunRow, step: str, position: str, queue: str, *, attempt: int = 1) -> StepInfo:
    """What guards are told of a step; its arguments come later."""
    return StepInfo(
        run_id=run.key,
        root_id=run.root_id,
        namespace=run.namespace,
        workflow=run.workflow,
        attributes=dict(run.attributes),
        step=step,
        position=position,
        args={},
        queue=queue,
        attempt=attempt,
    )


def _read(step: StepLike | None, args: bytes, name: str) -> Mapping[str, Any]:
    if step is not None:
        return step.arguments.decode_named(args)
    return cast("Mapping[str, Any]", decode(args, dict[str, Any], f"the arguments of step {name!r}"))


def _changed(step: StepLike | None, args: bytes, changes: object, name: str, guard: Guard) -> bytes:
    if not isinstance(changes, Mapping):
        msg = (
            f"{type(guard).__name__}.before_step returned {describe(changes)} for step {name!r}\n"
            f"  right:  return None, or a dict of new arguments by name"
        )
        raise TypeError(msg)
    named = dict(cast("Mapping[str, Any]", changes))
    if step is not None:
        return step.arguments.changed(args, named)
    return encode({**_read(None, args, name), **named}, dict[str, Any], f"the arguments of step {name!r}")


def _refused(guard: Guard, hook: str, info: StepInfo, error: BaseException) -> Failure:
    if not isinstance(error, Veto):
        _logger.error(
            "guard %r failed in %s of step %r of run %s, which counts as its veto",
            guard,
            hook,
            info.step,
            info.run_id,
            exc_info=error,
        )
    return Failure.of(error)
