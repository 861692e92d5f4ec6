"""What users write with: steps, workflows, and the verbs of a body.

The functions `current`, `step` and `workflow` have the names of modules in this package; imported from here, they are
the functions.
"""

from qwit_durable.language.calls import Call
from qwit_durable.language.options import StartOptions
from qwit_durable.language.step import Step, step
from qwit_durable.language.verbs import (
    compensate,
    gather,
    new_uuid,
    now,
    random_float,
    record,
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
    "BoundWorkflow",
    "Call",
    "Pending",
    "StartOptions",
    "Step",
    "StepContext",
    "Workflow",
    "WorkflowDefinition",
    "compensate",
    "current",
    "gather",
    "new_uuid",
    "now",
    "pending",
    "random_float",
    "record",
    "sleep",
    "sleep_until",
    "step",
    "wait_signal",
    "workflow",
]
