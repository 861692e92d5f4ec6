"""The workflows and steps of this process, by name.

A run is stored with the names of what it calls; here they become code again. The decorators of the language layer add
to `default_registry`; the engine looks up, and the broker binding is told of every addition. What is registered is
known by the protocols below: this module imports nothing of the language.
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from qwit_durable.core.commands import Resumption, Settings, Site, When
from qwit_durable.core.outcome import Value
from qwit_durable.errors import DefinitionError, Failure, UnknownName

if TYPE_CHECKING:
    from qwit_durable.codec import SignatureCodec

__all__ = ["Registered", "Registry", "StepLike", "UndoLike", "WorkflowLike", "default_registry"]


class UndoLike(Protocol):
    """What is known of a step's undo."""

    @property
    def when(self) -> When: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def is_async(self) -> bool: ...


class StepLike(Protocol):
    """What the engine and the broker binding ask of a step. `language.step.Step` documents each."""

    @property
    def name(self) -> str: ...
    @property
    def fn(self) -> Callable[..., Any]: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def arguments(self) -> SignatureCodec: ...
    @property
    def undo_definition(self) -> UndoLike | None: ...
    @property
    def is_async(self) -> bool: ...
    @property
    def site(self) -> Site: ...

    def bind(self, args: bytes) -> Callable[[], Any]: ...
    def bind_undo(
        self, args: bytes, result: bytes | None, failure: Failure, resumes: Resumption | None = None
    ) -> Callable[[], Any]: ...
    def undone(self, value: Any) -> Value: ...
    def encode_result(self, value: Any) -> bytes: ...
    def decode_result(self, data: bytes) -> Any: ...


class WorkflowLike(Protocol):
    """What the engine asks of a workflow. `language.workflow.WorkflowDefinition` documents each."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str | None: ...
    @property
    def queue(self) -> str: ...
    @property
    def deadline(self) -> timedelta | None: ...
    @property
    def on_undo_failure(self) -> Literal["stop", "continue"]: ...
    @property
    def park_on_failure(self) -> bool: ...
    @property
    def fn(self) -> Callable[..., Any]: ...
    @property
    def site(self) -> Site: ...

    def encode_args(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes: ...
    def normalise_args(self, data: bytes) -> bytes: ...
    def body(self, args: bytes) -> Callable[[], Generator[Any, Any, Any]]: ...
    def encode_result(self, value: Any) -> bytes: ...
    def decode_result(self, data: bytes) -> Any: ...


Registered = StepLike | WorkflowLike
_D = TypeVar("_D", StepLike, WorkflowLike)


def _place(site: Site) -> tuple[Path, int]:
    return Path(site.file).resolve(), site.line


class Registry:
    """Names to definitions. Steps and workflows have separate names. Safe to use from several threads.

    >>> registry = Registry()
    >>> registry.add_step(charge)
    >>> registry.step("charge") is charge
    True
    """

    def __init__(self) -> None:
        self._steps: dict[str, StepLike] = {}
        self._workflows: dict[str, WorkflowLike] = {}
        self._subscribers: list[Callable[[Registered], None]] = []
        self._lock = threading.RLock()

    def add_step(self, step: StepLike) -> None:
        """Make a step known under its name.

        A second definition in the same file and line replaces the first: that is one module imported twice, as
        `__main__` and by its name.

        Raises:
            DefinitionError: Another step has this name; the message shows both places.
        """
        self._add("step", self._steps, step)

    def add_workflow(self, workflow: WorkflowLike) -> None:
        """Make a workflow known under its name; as `add_step`."""
        self._add("workflow", self._workflows, workflow)

    def step(self, name: str) -> StepLike:
        """The step of that name.

        Raises:
            UnknownName: None is registered; the message lists the known ones, the most similar first.
        """
        found = self._steps.get(name)
        return found if found is not None else self._get("step", self._steps, name)

    def workflow(self, name: str) -> WorkflowLike:
        """The workflow of that name. Raises as `step` does."""
        return self._get("workflow", self._workflows, name)

    def steps(self) -> tuple[StepLike, ...]:
        """All steps, in the order of their definition."""
        with self._lock:
            return tuple(self._steps.values())

    def workflows(self) -> tuple[WorkflowLike, ...]:
        """All workflows, in the order of their definition."""
        with self._lock:
            return tuple(self._workflows.values())

    def subscribe(self, callback: Callable[[Registered], None]) -> Callable[[], None]:
        """Have `callback` called with each definition that is added from now on, on the thread that adds it.

        Returns:
            A function that ends the subscription; calling it twice does no harm.
        """
        with self._lock:
            self._subscribers.append(callback)

        def unsubscribe() -> None:
            with self._lock:
                if callback in self._subscribers:
                    self._subscribers.remove(callback)

        return unsubscribe

    @contextmanager
    def restored(self) -> Generator[None]:
        """Forget what is added in this block when it ends; for tests."""
        with self._lock:
            steps, workflows = dict(self._steps), dict(self._workflows)
        try:
            yield
        finally:
            with self._lock:
                self._steps, self._workflows = steps, workflows

    def _add(self, kind: str, known: dict[str, _D], definition: _D) -> None:
        with self._lock:
            other = known.get(definition.name)
            if other is not None and _place(other.site) != _place(definition.site):
                msg = (
                    f"there are two {kind}s of the name {definition.name!r}\n"
                    f"  first:  {other.site}\n"
                    f"  second: {definition.site}\n"
                    f"  way out: give one of them another name, as @{kind}(name=...)"
                )
                raise DefinitionError(msg)
            known[definition.name] = definition
            subscribers = tuple(self._subscribers)
        for callback in subscribers:
            callback(definition)

    def _get(self, kind: str, known: dict[str, _D], name: str) -> _D:
        found = known.get(name)
        if found is not None:
            return found
        with self._lock:
            names: list[str] = list(known)
        close: list[str] = difflib.get_close_matches(name, names, n=len(names) or 1)
        listed = ", ".join([*close, *sorted(set(names) - set(close))]) or "none"
        msg = (
            f"no {kind} of the name {name!r} is registered in this process; known: {listed}\n"
            f"  likely cause: the module that defines it is not imported here, or it was renamed\n"
            f"  way out: import its module where the worker starts, or define it with @{kind}(name={name!r})"
        )
        raise UnknownName(msg)


#: What the decorators add to.
default_registry = Registry()
