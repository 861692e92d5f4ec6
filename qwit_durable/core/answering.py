"""What a recorded outcome means at the `yield` that waits for it."""

from __future__ import annotations

from qwit_durable.core.commands import CallWorkflow, Leaf, Patched
from qwit_durable.core.events import Resolved
from qwit_durable.core.frames import Answer
from qwit_durable.core.outcome import Dropped, Value
from qwit_durable.errors import ChildFailed, Failure, StepFailed

__all__ = ["answer_to"]


def answer_to(command: Leaf, event: Resolved) -> Answer | bytes:
    """The answer as it is raised or returned, or as encoded bytes that the command can read."""
    match event.outcome:
        case Value() as value:
            return Answer(value=True) if isinstance(command, Patched) else value.data
        case Failure() as failure if isinstance(command, CallWorkflow):
            return Answer(error=ChildFailed(event.name, failure))
        case Failure() as failure:
            return Answer(error=StepFailed(event.name, failure, event.attempt))
        case Dropped():
            return Answer()
