"""Runs as programs: what an interpreter needs of a run and of the workflow that this process knows under its name."""

from __future__ import annotations

from qwit_durable.codec import check_size
from qwit_durable.core import Interpreter, Program
from qwit_durable.core.commands import When
from qwit_durable.registry import Registry, WorkflowLike
from qwit_durable.stores.rows import RunRow

__all__ = ["Programs"]


class Programs:
    """Makes interpreters."""

    def __init__(self, registry: Registry, limit_bytes: int) -> None:
        self._registry = registry
        self._limit_bytes = limit_bytes

    def interpreter(self, run: RunRow, generation: int) -> Interpreter:
        """A fresh interpreter of that generation.

        Raises:
            UnknownName: This process does not know the workflow.
        """
        return self.interpreter_of(self._registry.workflow(run.workflow), run, generation)

    def interpreter_of(self, definition: WorkflowLike, run: RunRow, generation: int) -> Interpreter:
        """The same, of this workflow."""
        program = Program(
            name=run.workflow,
            args=run.args,
            body=lambda args: definition.body(args)(),
            encode=lambda value: self._encoded(definition, value),
            encode_args=definition.encode_args,
            is_child=run.parent_id is not None,
            on_undo_failure=definition.on_undo_failure,
            parks=definition.park_on_failure,
            undo_when=self._undo_when,
            limit_bytes=self._limit_bytes,
        )
        return Interpreter(program, generation=generation)

    def _undo_when(self, name: str) -> When | None:
        """When the undo of a step is owed, by today's code."""
        undo = self._registry.step(name).undo_definition
        return undo.when if undo is not None else None

    def _encoded(self, definition: WorkflowLike, value: object) -> bytes:
        data = definition.encode_result(value)
        check_size(data, f"the value of workflow {definition.name!r}", self._limit_bytes)
        return data
