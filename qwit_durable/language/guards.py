"""`Guard`: may veto a step, change what it gets, and refuse or change what it gave.

Told apart from observers, which can change nothing. The engine asks (`engine.attempting.guarding`) and records the
answers, so that nobody is asked again on replay; this module holds what users write with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import attrs

__all__ = ["Guard", "StepInfo"]


@attrs.frozen(kw_only=True)
class StepInfo:
    """The step that a guard is asked about.

    Attributes:
        run_id: The run's id, as `durable.get` takes it.
        root_id: The run at the root of its tree; the run's own if it has no parent.
        workflow: The workflow's name.
        attributes: The run's attributes.
        step: The step's name.
        position: The command's place in the body.
        args: What the step gets, by parameter, decoded as the step's annotations say: as the body asked for, or as the
            guard before this one has changed it. Of a step that this process does not know they are plain JSON.
        queue: The broker queue of the step.
        attempt: 1 before the step; afterwards the number of the attempt that succeeded.

    >>> class NoNights(Guard):
    ...     def before_step(self, info: StepInfo) -> None:
    ...         if info.queue == "warehouse" and info.attributes.get("shift") == "night":
    ...             raise Veto(f"{info.step} waits for the morning")
    """

    run_id: str
    root_id: UUID
    namespace: str
    workflow: str
    attributes: Mapping[str, str | int | float | bool]
    step: str
    position: str
    args: Mapping[str, Any]
    queue: str
    attempt: int = 1


class Guard:
    """Override what you want a say in; by default everything is let through.

    Asked once for each step that a body calls, in the process that works on it; several guards in their order, each
    about what the one before it left. What they answer is recorded before the step begins, and with its value: replay
    and later attempts ask nobody. A process that dies between asking and recording asks again. Not asked about undos,
    nor about calls handed to `compensate()`.

    Anything but `Veto` that a guard raises counts as its veto, with that error: a guard that can't decide lets nothing
    through.

    >>> class Budget(Guard):
    ...     def before_step(self, info: StepInfo) -> None:
    ...         if info.step == "charge" and info.args["cents"] > 100_000:
    ...             raise Veto("over the limit of this shop")
    """

    def before_step(self, info: StepInfo) -> Mapping[str, Any] | None:
        """Let a step begin, with these arguments.

        Returns:
            None to leave its arguments as they are, or new values for some or all of them by name. They are checked as
            the body's own are: where they don't fit, the step fails before it began.

        Raises:
            Veto: The step does not begin, fails with this error, and is not undone; the steps before it are, unless
                the body catches the `StepFailed`.
        """
        _ = info
        return None

    def after_step(self, info: StepInfo, value: Any) -> Any:
        """Let a step's value be recorded. Not asked about failures.

        Args:
            info: The step, with the arguments it really got.
            value: What it returned.

        Returns:
            None to leave it as it is, or the value to be recorded in its place.

        Raises:
            Veto: The step fails with this error, without further attempts, and is undone with this value.
        """
        _ = info, value
        return None
