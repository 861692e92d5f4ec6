"""Every public name says what it is for, with an example that does what it says."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import pytest

import qwit_durable
from qwit_durable.testing import environment
from tests.docstrings import examples_of, run_examples

#: Attributes of public classes that are for the engine and the command line, not for users.
_PLUMBING = {
    "Durable": {
        "begin",
        "can_ring",
        "home_broker",
        "limit_bytes",
        "on_broker",
        "on_installed",
        "on_worker_draining",
        "on_worker_starting",
        "on_worker_stopped",
        "reader",
        "ring",
        "runtime",
        "start_run",
        "start_within",
        "store",
        "write",
        "write_all",
    },
    "Handle": {"announce_once_committed"},
}
#: Examples that set up exporters for the whole process.
_NEED_A_COLLECTOR = {
    "qwit_durable.observers.opentelemetry.OpenTelemetry",
    "qwit_durable.observers.otlp.configure",
}
#: A name for type checkers: it has no docstring of its own.
_ALIASES = {"Workflow"}


def documented() -> Iterator[tuple[str, object]]:
    for name in qwit_durable.__all__:
        found = getattr(qwit_durable, name)
        if name not in _ALIASES:
            yield name, found
    for cls in (qwit_durable.Durable, qwit_durable.Handle):
        for name, member in inspect.getmembers(cls):
            home = getattr(getattr(member, "fget", None) or member, "__module__", None) or ""
            is_own = home.startswith(("qwit_durable.app", "qwit_durable.client"))
            if is_own and not name.startswith("_") and name not in _PLUMBING.get(cls.__name__, ()):
                yield f"{cls.__name__}.{name}", member
    yield "qwit_durable.testing.environment", environment


def shown() -> Iterator[tuple[str, tuple[object, ModuleType]]]:
    """Whatever else in the package has an example, with its module."""
    known = {id(found) for found in _DOCUMENTED.values()}
    for found in pkgutil.walk_packages(qwit_durable.__path__, "qwit_durable."):
        # What `python -m` and `dramatiq` load does its work when it is imported.
        if found.name.endswith(("__main__", ".worker", ".plain_worker")):
            continue
        module = importlib.import_module(found.name)
        members = [value for value in vars(module).values() if getattr(value, "__module__", "") == found.name]
        methods = [
            getattr(value, "fget", None) or value
            for member in members
            if inspect.isclass(member)
            for value in vars(member).values()
        ]
        for one in (module, *members, *(method for method in methods if inspect.isfunction(method))):
            name = f"{found.name}.{getattr(one, '__qualname__', '')}".rstrip(".")
            if id(one) not in known and name not in _NEED_A_COLLECTOR and ">>>" in (one.__doc__ or ""):
                known.add(id(one))
                yield name, (one, module)


_DOCUMENTED = dict(documented())
_SHOWN = dict(shown())


@pytest.mark.parametrize("name", _DOCUMENTED)
def test_public_name_has_an_example_that_does_what_it_says(name):
    examples = examples_of(_DOCUMENTED[name])

    assert examples, f"{name} has no example (>>>) in its docstring"
    run_examples(name, examples)


@pytest.mark.parametrize("name", _SHOWN)
def test_an_example_that_is_shown_anywhere_does_what_it_says(name):
    one, home = _SHOWN[name]

    run_examples(name, examples_of(one), home)
