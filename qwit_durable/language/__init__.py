"""What users write with: steps, workflows, and the verbs of a body.

The functions `current`, `step` and `workflow` have the names of modules in this package; imported from here, they are
the functions.
"""

from qwit_durable.language.calls import Call
from qwit_durable.language.flow import CONTINUE, flow
from qwit_durable.language.groups import gather, map_steps, race, saga
from qwit_durable.language.guards import Guard, StepInfo
from qwit_durable.language.options import StartOptions
from qwit_durable.language.step import Step, step
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
from qwit_durable.language.workflow import BoundWorkflow, Workflow, WorkflowDefinition, workflow

# isort: split
# Last, because the import of `language.current` above has bound that module to the name.
from qwit_durable.language.context import StepContext, current
from qwit_durable.language.pending import Pending, pending

__all__ = [
    "CONTINUE",
    "BoundWorkflow",
    "Call",
    "Pending",
    "RunInfo",
    "Guard",
    "StartOptions",
    "Step",
    "StepContext",
    "StepInfo",
    "Workflow",
    "WorkflowDefinition",
    "compensate",
    "current",
    "flow",
    "gather",
    "info",
    "map_steps",
    "new_uuid",
    "now",
    "pending",
    "patched",
    "publish",
    "race",
    "random_float",
    "record",
    "restart",
    "saga",
    "sleep",
    "sleep_until",
    "step",
    "wait_signal",
    "workflow",
]
