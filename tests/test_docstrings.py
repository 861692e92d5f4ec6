"""Every public name says what it is for, with an example that does what it says."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest

import qwit_durable
from qwit_durable.testing import environment
from tests.docstrings import examples_of, run_examples

#: Attributes of public classes that are for the engine and the command line, not for users.
_PLUMBING = {
    "Durable": {
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
    },
    "Handle": {"announce_once_committed"},
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


_DOCUMENTED = dict(documented())


@pytest.mark.parametrize("name", _DOCUMENTED)
def test_public_name_has_an_example_that_does_what_it_says(name):
    examples = examples_of(_DOCUMENTED[name])

    assert examples, f"{name} has no example (>>>) in its docstring"
    run_examples(name, examples)
