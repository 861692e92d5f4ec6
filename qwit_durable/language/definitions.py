"""Checks of the functions that become workflows and steps, made where they are defined.

Each refusal shows file and line, the likely cause and the right form. The source text is read only where it is needed
to say more, and its absence is never an error.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import textwrap
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

from qwit_durable.codec import unfit_as_name
from qwit_durable.core.commands import Site
from qwit_durable.errors import DefinitionError, describe
from qwit_durable.language.calls import call_site

__all__ = ["check_body", "check_plain", "name_of", "site_of"]

_NAMES_MAX_CHARS = 255


def site_of(fn: Callable[..., Any]) -> Site:
    """Where a function is defined: the line of its first decorator."""
    code = getattr(inspect.unwrap(fn), "__code__", None)
    return Site(code.co_filename, code.co_firstlineno) if isinstance(code, CodeType) else call_site()


def name_of(fn: Callable[..., Any], given: object, kind: str) -> str:
    """The name under which a function is known: the given one, else its own."""
    name = getattr(fn, "__name__", None) if given is None else given
    if (
        not isinstance(name, str)
        or not 0 < len(name) <= _NAMES_MAX_CHARS
        or (given is None and name == "<lambda>")
    ):
        cause = "" if given is not None else "\n  likely cause: a lambda, which has no name of its own"
        msg = (
            f"@{kind} at {site_of(fn)}: a name is needed, got {describe(name)}{cause}\n"
            f"  right:  @{kind}(name='...'), of 1 to {_NAMES_MAX_CHARS} characters"
        )
        raise DefinitionError(msg)
    if (why := unfit_as_name(name)) is not None:
        msg = f"@{kind} at {site_of(fn)}: the name {why}"
        raise DefinitionError(msg)
    return name


def check_plain(fn: object, kind: str) -> Callable[..., Any]:
    """Refuse what is no function, or is a method: a stored call knows no object to be called on."""
    if not callable(fn) or isinstance(fn, type):
        msg = (
            f"@{kind} at {call_site()}: a function is needed, got {describe(fn)}\n"
            f"  way out: decorate a function at module level"
        )
        raise DefinitionError(msg)
    names = list(inspect.signature(fn).parameters)
    owner = getattr(fn, "__qualname__", "").rpartition(".")[0]
    if names[:1] in (["self"], ["cls"]) and owner and not owner.endswith("<locals>"):
        msg = (
            f"{kind} {getattr(fn, '__name__', '?')!r} ({site_of(fn)}) is a method: its {names[0]!r} can't be stored\n"
            f"  likely cause: it uses what its object holds, but another process runs it\n"
            f"  way out: make it a function at module level that takes what it needs"
        )
        raise DefinitionError(msg)
    return fn


def check_body(fn: Callable[..., Any], name: str) -> None:
    """Refuse a workflow that is no generator function, or that yields within `finally`."""
    site = site_of(fn)
    if inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn):
        msg = (
            f"workflow {name!r} ({site}) is an `async def`: workflows are generators\n"
            f"  likely cause: it is written as for asyncio, which can't be run again from a record\n"
            f"  wrong:  async def {name}(...), and `await` in it\n"
            f"  right:  def {name}(...) -> Workflow[...], and `yield from` in it; steps may be `async def`"
        )
        raise DefinitionError(msg)
    if not inspect.isgeneratorfunction(fn):
        line, wrong, right = _forgotten_yield(fn) or (
            site.line,
            f"def {name}(...): without any `yield from`",
            "value = yield from step(...), or `yield from ()` where there is nothing to do",
        )
        msg = (
            f"workflow {name!r} ({site.file}:{line}) is not a generator function: it would run at once, not durably\n"
            f"  likely cause: `yield from` is missing before a call\n"
            f"  wrong:  {wrong}\n"
            f"  right:  {right}"
        )
        raise DefinitionError(msg)
    line_in_finally = _yield_in_finally(fn)
    if line_in_finally is not None:
        msg = (
            f"workflow {name!r} yields within `finally` ({site.file}:{line_in_finally})\n"
            f"  likely cause: cleanup was written there, but a body is closed wherever it waits, and can't yield then\n"
            f"  way out: cleanup belongs in undos (@step.undo, compensate())"
        )
        raise DefinitionError(msg)


def _lines(fn: Callable[..., Any]) -> tuple[list[str], int]:
    """The source lines of a function and the number of the first; no lines where there is no source."""
    code = getattr(inspect.unwrap(fn), "__code__", None)
    if not isinstance(code, CodeType):
        return [], 1
    numbers = [line for _, _, line in code.co_lines() if line is not None]
    last = max(numbers, default=code.co_firstlineno)
    return linecache.getlines(code.co_filename)[code.co_firstlineno - 1 : last], code.co_firstlineno


def _tree(fn: Callable[..., Any]) -> tuple[ast.AST, int] | None:
    """The function's syntax tree, and what to add to its line numbers."""
    try:
        lines, first = inspect.getsourcelines(inspect.unwrap(fn))
        return ast.parse(textwrap.dedent("".join(lines))).body[0], first - 1
    except (OSError, TypeError, SyntaxError, IndexError):
        return None


def _within(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below one, without those of functions and classes defined in it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            yield child
            yield from _within(child)


def _yield_in_finally(fn: Callable[..., Any]) -> int | None:
    lines, _ = _lines(fn)
    if not any("finally" in line for line in lines) or (found := _tree(fn)) is None:
        return None
    tree, offset = found
    for node in _within(tree):
        if isinstance(node, (ast.Try, ast.TryStar)):
            for inner in _within(ast.Module(node.finalbody, [])):
                if isinstance(inner, (ast.Yield, ast.YieldFrom)):
                    return inner.lineno + offset
    return None


def _forgotten_yield(fn: Callable[..., Any]) -> tuple[int, str, str] | None:
    """The first line that calls a step or a workflow, and how it would be right."""
    found = _tree(fn)
    if found is None:
        return None
    tree, offset = found
    lines, _ = _lines(fn)
    names: dict[str, Any] = {**getattr(fn, "__globals__", {}), **inspect.getclosurevars(fn).nonlocals}
    for node in _within(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and hasattr(names.get(node.func.id), "fn")
        ):
            source = textwrap.dedent("".join(lines)).splitlines()[node.lineno - 1]
            at = node.col_offset
            before, after = source[:at], source[at:]
            is_statement = not before.strip() or before.rstrip().endswith("=")
            end = node.end_col_offset if node.end_lineno == node.lineno else None
            right = (
                f"{before}yield from {after}"
                if is_statement or end is None
                else f"{before}(yield from {source[at:end]}){source[end:]}"
            )
            return node.lineno + offset, source.strip(), right.strip()
    return None
