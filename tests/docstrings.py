"""Runs the examples of a docstring in a small shop.

An example that yields is the body of a workflow: it is wrapped in one and run in virtual time, with the signals
`approved` and `go` sent to it. What follows a line of it is the `repr` of that line's value. Any other example is an
ordinary doctest; runs are carried out as soon as they are started, in virtual time. What the example defines itself
is not there beforehand.
"""

from __future__ import annotations

import ast
import doctest
import inspect
import linecache
import sys
import textwrap
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from qwit_durable.registry import default_registry
from qwit_durable.testing.environment import Environment
from tests.misuse import Shop

__all__ = ["examples_of", "run_examples"]

_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
_SHOP = (Path(__file__).parent / "docstring_shop.py").read_text(encoding="utf-8")


def examples_of(documented: object) -> list[doctest.Example]:
    """The examples in the docstring of an object."""
    return doctest.DocTestParser().get_examples(inspect.getdoc(documented) or "")


def run_examples(name: str, examples: list[doctest.Example], home: ModuleType | None = None) -> None:
    """Run the examples of one docstring. Raises AssertionError where one does not do what it says.

    Names of its own module, `home`, are there without an import.
    """
    source = "".join(example.source for example in examples)
    with TemporaryDirectory() as folder, chdir(folder), default_registry.restored():
        if _is_body(source):
            _run_body(name, examples, _module(source, Shop()))
            return
        with Shop() as shop:
            module = _module(source, shop)
            for own, value in vars(home or module).items():
                module.__dict__.setdefault(own, value)
            test = doctest.DocTest(examples, module.__dict__, name, None, None, source)
            failures: list[str] = []
            doctest.DocTestRunner(optionflags=_FLAGS).run(test, out=failures.append)
    assert not failures, "".join(failures)


def _is_body(source: str) -> bool:
    return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in _outside_functions(ast.parse(source)))


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.GeneratorExp):
            yield child
            yield from _outside_functions(child)


def _module(source: str, shop: Shop) -> ModuleType:
    """The shop, without what the example defines."""
    own = {
        node.name
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    tree = ast.parse(_SHOP)
    tree.body = [node for node in tree.body if getattr(node, "name", None) not in own]
    module = sys.modules["docstring"] = ModuleType("docstring")
    module.__dict__["shop"] = shop
    exec(compile(tree, "docstring_shop.py", "exec"), module.__dict__)
    return module


def _run_body(name: str, examples: list[doctest.Example], module: ModuleType) -> None:
    lines: list[str] = []
    for number, example in enumerate(examples):
        code = example.source.rstrip()
        lines.append(f"__show({number}, ({code}))" if example.want else code)
    body = textwrap.indent("\n".join([*lines, "yield from ()"]), "    ")
    code = f"@workflow(name='the example')\ndef example():\n{body}"
    shown: dict[int, str] = {}
    module.__dict__["__show"] = lambda number, value: shown.update({number: f"{value!r}\n"})
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    exec(compile(code, name, "exec"), module.__dict__)
    environment = Environment()
    handle: Any = environment.start(module.__dict__["example"])
    handle.signal("approved", {"by": "Ann"})
    handle.signal("go")
    environment.settle()
    handle.result(0)
    for number, example in enumerate(examples):
        if example.want:
            assert doctest.OutputChecker().check_output(example.want, shown[number], _FLAGS), (
                f"{example.source}said {shown[number]}instead of {example.want}"
            )
