"""Durable workflows with compensation for Dramatiq.

Names by intent: what a workflow is written with, what runs it, what looks at it, and what can go wrong. Each is loaded
from its home when it is first asked for, so that `import qwit_durable` costs next to nothing and imports no client of
a broker or a database.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qwit_durable.app import Durable
    from qwit_durable.client import (
        Entry,
        Explanation,
        Handle,
        History,
        Published,
        Run,
        Schedule,
        ScheduleHandle,
        Wait,
        WaitKind,
    )
    from qwit_durable.core import Retry, Status
    from qwit_durable.errors import (
        AmbiguousDurable,
        AttemptLost,
        AttemptTimedOut,
        ChildFailed,
        DeadlineExceeded,
        DefinitionError,
        DurableError,
        EncodingError,
        Failure,
        GiveUp,
        HistoryMismatch,
        InvalidToken,
        MisuseError,
        NotRunningError,
        OperationRefused,
        PayloadError,
        RaceLost,
        RolledBack,
        RunAlreadyExists,
        RunFailed,
        RunNotFound,
        RunStuck,
        ScheduleNotFound,
        SchemaMismatch,
        SignalTimeout,
        StepFailed,
        StoreError,
        StoreUnavailable,
        UnknownName,
        Veto,
        WorkflowCancelled,
        WorkflowFailed,
        WorkflowTerminated,
    )
    from qwit_durable.language.context import current
    from qwit_durable.language.flow import CONTINUE, flow
    from qwit_durable.language.groups import gather, map_steps, race, saga
    from qwit_durable.language.guards import Guard, StepInfo
    from qwit_durable.language.pending import pending
    from qwit_durable.language.step import step
    from qwit_durable.language.verbs import (
        RunInfo,
        compensate,
        info,
        new_uuid,
        now,
        patched,
        publish,
        random_float,
        record,
        restart,
        sleep,
        sleep_until,
        wait_signal,
    )
    from qwit_durable.language.workflow import Workflow, workflow
    from qwit_durable.observers import Observer

__all__ = [
    # write
    "workflow",
    "Workflow",
    "step",
    "Retry",
    "GiveUp",
    "gather",
    "race",
    "map_steps",
    "saga",
    "sleep",
    "sleep_until",
    "wait_signal",
    "compensate",
    "now",
    "new_uuid",
    "random_float",
    "record",
    "publish",
    "patched",
    "restart",
    "info",
    "RunInfo",
    "current",
    "pending",
    "flow",
    "CONTINUE",
    # run
    "Durable",
    "Handle",
    "ScheduleHandle",
    # inspect
    "Run",
    "Schedule",
    "Status",
    "Explanation",
    "Wait",
    "WaitKind",
    "History",
    "Entry",
    "Published",
    "Failure",
    "Observer",
    # decide
    "Guard",
    "StepInfo",
    "Veto",
    # errors at import, and of use in the wrong place
    "DurableError",
    "DefinitionError",
    "MisuseError",
    "UnknownName",
    "AmbiguousDurable",
    "NotRunningError",
    "EncodingError",
    "HistoryMismatch",
    # errors in bodies and steps
    "StepFailed",
    "ChildFailed",
    "SignalTimeout",
    "DeadlineExceeded",
    "AttemptTimedOut",
    "AttemptLost",
    "RaceLost",
    "RolledBack",
    # errors that callers see
    "RunFailed",
    "WorkflowFailed",
    "WorkflowCancelled",
    "WorkflowTerminated",
    "RunStuck",
    "RunNotFound",
    "ScheduleNotFound",
    "RunAlreadyExists",
    "OperationRefused",
    "InvalidToken",
    # errors of the store
    "StoreError",
    "StoreUnavailable",
    "SchemaMismatch",
    "PayloadError",
]

_NAMES = {
    "app": ("Durable",),
    "client": (
        "Entry",
        "Explanation",
        "Handle",
        "History",
        "Published",
        "Run",
        "Schedule",
        "ScheduleHandle",
        "Wait",
        "WaitKind",
    ),
    "core": ("Retry", "Status"),
    "language": (
        "workflow",
        "Workflow",
        "step",
        "gather",
        "race",
        "map_steps",
        "saga",
        "sleep",
        "sleep_until",
        "wait_signal",
        "compensate",
        "now",
        "new_uuid",
        "random_float",
        "record",
        "publish",
        "patched",
        "restart",
        "info",
        "RunInfo",
        "current",
        "pending",
        "Guard",
        "StepInfo",
        "flow",
        "CONTINUE",
    ),
    "observers": ("Observer",),
}
#: The module of each name; those not listed are in `errors`.
_HOMES = {name: home for home, names in _NAMES.items() for name in names}


if not TYPE_CHECKING:  # a type checker reads the imports above, and so still refuses unknown names

    def __getattr__(name: str) -> Any:
        """Load a public name from its home, once."""
        if name not in __all__:
            msg = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
