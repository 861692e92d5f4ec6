"""What `import qwit_durable` gives, and what it costs."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from importlib import import_module

import pytest

import qwit_durable
from qwit_durable import errors

#: Distributions that only those who use them should load.
_HEAVY = (
    "opentelemetry",
    "redis",
    "pika",
    "psycopg",
    "click",
    "rich",
    "pydantic",
    "starlette",
    "django",
    "flask",
    "fastapi",
)
_COST_SECONDS = 0.15


def python(code):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.split()


def test_every_public_name_is_there_and_is_listed_once():
    names = qwit_durable.__all__

    found = {name: getattr(qwit_durable, name) for name in names}

    assert len(found) == len(names)
    assert set(names) <= set(dir(qwit_durable))


def test_a_type_checker_sees_the_names_that_are_there_at_run_time():
    tree = ast.parse(inspect.getsource(qwit_durable))
    for_checkers = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {
        alias.name: (node.module, alias.name)
        for node in ast.walk(for_checkers)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    assert sorted(imported) == sorted(qwit_durable.__all__)
    for module, name in imported.values():
        there = getattr(import_module(module), name)
        assert getattr(qwit_durable, name) is there, name


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'dash'"):
        _ = qwit_durable.dash


def test_every_error_is_public():
    every = {name for name in errors.__all__ if name not in {"class_name", "describe"}}

    assert every <= set(qwit_durable.__all__)


@pytest.mark.parametrize("code", ["import qwit_durable", "from qwit_durable import *"])
def test_importing_loads_no_client_and_no_framework(code):
    loaded = python(f"{code}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))")

    assert not set(_HEAVY) & set(loaded)


def test_importing_costs_little_more_than_importing_dramatiq():
    code = (
        "import time, dramatiq; t = time.process_time(); import qwit_durable; print(time.process_time() - t)"
    )

    seconds = min(float(python(code)[0]) for _ in range(3))

    assert seconds < _COST_SECONDS
