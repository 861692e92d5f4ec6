"""Names of workflows and steps, kept apart between test modules.

In production a name means one thing in a process. Here every module defines a `charge`: so what a module registers
while it is collected is forgotten afterwards, and during its tests the names are those that the module and the test
modules it imports define.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from types import ModuleType
from typing import Any

import pytest

from qwit_durable.language.step import Step
from qwit_durable.language.workflow import WorkflowDefinition
from qwit_durable.registry import default_registry

__all__ = ["own_names", "pytest_make_collect_report"]


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, Any, Any]:
    """Forget what importing a test module registers."""
    with default_registry.restored():
        return (yield)


@pytest.fixture(autouse=True)
def own_names(request: pytest.FixtureRequest) -> Iterator[None]:
    """Know the names of this test's module, and forget with it what the test defines."""
    with default_registry.restored():
        for definition in _definitions(request.module, set()):
            if isinstance(definition, Step):
                default_registry.add_step(definition)
            else:
                default_registry.add_workflow(definition)
                for one in getattr(definition, "steps", ()):
                    default_registry.add_step(one)
        yield


def _definitions(
    module: ModuleType, seen: set[str]
) -> Iterator[Step[Any, Any] | WorkflowDefinition[Any, Any]]:
    seen.add(module.__name__)
    for value in list(vars(module).values()):
        if isinstance(value, Step | WorkflowDefinition):
            yield value
        elif (
            isinstance(value, ModuleType)
            and value.__name__.startswith("tests.")
            and value.__name__ not in seen
        ):
            yield from _definitions(value, seen)
