"""The shape of the house, read from the imports and calls of its modules: see CONTRIBUTING.md for the reasons."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

PACKAGE = "qwit_durable"
ROOT = Path(__file__).resolve().parents[1] / PACKAGE

RANKS = {
    "errors": 0,
    "clock": 0,
    "ids": 0,
    "core": 1,
    "codec": 2,
    "registry": 2,
    "stores": 3,
    "observers": 3,
    "language": 3,
    "engine": 4,
    "broker": 5,
    "client": 6,
    "app": 7,
    "testing": 8,
    "bench": 8,
    "cli": 9,
}
UNRANKED = {"__init__", "__main__"}  # the front doors: they may import anything, and nobody imports them

CORE_MAY_IMPORT = {
    "abc",
    "__future__",
    "attrs",
    "collections",
    "collections.abc",
    "contextlib",
    "contextvars",
    "datetime",
    "enum",
    "functools",
    "inspect",
    "itertools",
    "json",
    "math",
    "sys",
    "traceback",
    "types",
    "typing",
}

# Where the outside world gets in, and the only modules that may ask it.
IMPURE_EXACTLY = {
    "time.time",
    "time.time_ns",
    "time.monotonic",
    "time.monotonic_ns",
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.datetime.today",
    "datetime.date.today",
    "os.urandom",
}
IMPURE_MODULES = {"random", "secrets", "uuid"}
PURE_ALL_THE_SAME = {"uuid.UUID"}  # a type, and a way to read one
MAY_BE_IMPURE = {"clock", "ids"}

MAXIMUM_LINES = 350

TABLE = "\n".join(
    f"  {rank}  {' '.join(sorted(name for name in RANKS if RANKS[name] == rank))}"
    for rank in sorted(set(RANKS.values()))
)


@attrs.frozen
class Import:
    """One imported module, and one name out of it where the statement names one."""

    line: int
    module: str
    name: str | None = None

    @property
    def part(self) -> str | None:
        """The part of this package that is imported: `core` of `qwit_durable.core.events`, "" for the front door."""
        parts = self.module.split(".")
        if parts[0] != PACKAGE:
            return None
        if len(parts) > 1:
            return parts[1]
        return self.name if self.name in RANKS else ""


@attrs.frozen
class Module:
    """One file of the package."""

    path: str
    text: str

    @property
    def part(self) -> str:
        return self.path.split("/")[0].removesuffix(".py")

    @property
    def where(self) -> str:
        return f"{PACKAGE}/{self.path}"

    def imports(self) -> Iterator[Import]:
        """Every import at run time, also one inside a function; those for types alone are left out."""
        package = [PACKAGE, *self.path.split("/")[:-1]]
        for node in _run_time_nodes(ast.parse(self.text)):
            if isinstance(node, ast.Import):
                yield from (Import(node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = package[: len(package) - node.level + 1] if node.level else []
                module = ".".join([*above, *([node.module] if node.module else [])])
                yield from (Import(node.lineno, module, alias.name) for alias in node.names)


def _run_time_nodes(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield other
                yield from _run_time_nodes(other)
            continue
        yield child
        yield from _run_time_nodes(child)


def rank_violations(module: Module) -> Iterator[str]:
    if module.part in UNRANKED:
        return
    if module.part not in RANKS:
        yield f"{module.where}: '{module.part}' has no rank; give it one in RANKS, here and in CONTRIBUTING.md"
        return
    for each in module.imports():
        if each.part is None or each.part == module.part:
            continue
        if RANKS.get(each.part, max(RANKS.values()) + 1) >= RANKS[module.part]:
            shown = each.part or f"the front door, {PACKAGE}/__init__.py"
            yield f"{module.where}:{each.line}: '{module.part}' imports {shown}"


def core_violations(module: Module) -> Iterator[str]:
    if module.part != "core":
        return
    for each in module.imports():
        if each.part is None and each.module not in CORE_MAY_IMPORT:
            yield f"{module.where}:{each.line}: imports {each.module}"


def dramatiq_violations(module: Module) -> Iterator[str]:
    if module.part == "broker":
        return
    for each in module.imports():
        if each.module.split(".")[0] == "dramatiq":
            yield f"{module.where}:{each.line}: imports {each.module}"


def impurity_violations(module: Module) -> Iterator[str]:
    if module.part in MAY_BE_IMPURE:
        return
    known = {}
    for node in ast.walk(ast.parse(module.text)):
        if isinstance(node, ast.Import):
            known |= {alias.asname or alias.name.split(".")[0]: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            known |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(ast.parse(module.text)):
        if isinstance(node, ast.Attribute | ast.Name):
            first, *others = ast.unparse(node).split(".")
            full = ".".join([known.get(first, ""), *others])
            if _is_impure(full):
                yield f"{module.where}:{node.lineno}: uses {full}"


def _is_impure(name: str) -> bool:
    if name in PURE_ALL_THE_SAME or any(name.startswith(f"{pure}.") for pure in PURE_ALL_THE_SAME):
        return False
    module, _, rest = name.partition(".")
    return name in IMPURE_EXACTLY or (module in IMPURE_MODULES and bool(rest))


def length_violations(module: Module) -> Iterator[str]:
    lines = module.text.count("\n")
    if lines > MAXIMUM_LINES:
        yield f"{module.where}: {lines} lines"


RULES = {
    rank_violations: (
        "A module imports its own part of the package and parts of a strictly lower rank, lowest first:\n"
        f"{TABLE}\n"
        "What is needed from above is handed in: as an argument, or as a protocol that is defined below.\n"
        "An import for types alone belongs under `if TYPE_CHECKING:` and is exempt."
    ),
    core_violations: (
        "The core is pure: it decides, and the engine acts. It imports ranks 0 and 1 and only these of the rest:\n"
        f"  {' '.join(sorted(CORE_MAY_IMPORT))}\n"
        "Whatever it needs to know about the world comes in as an event; whatever it wants done goes out as a value."
    ),
    dramatiq_violations: (
        "Only broker/ imports dramatiq: the rest works without a broker, and the next broker changes one package.\n"
        "Put what needs dramatiq into broker/, and let it call the engine."
    ),
    impurity_violations: (
        "Time, randomness and new ids come from qwit_durable.clock and qwit_durable.ids alone, so that tests can hold\n"
        "time still and replay gives the same values. Take a `Clock`, or call a function of those two modules."
    ),
    length_violations: (
        f"A module of more than {MAXIMUM_LINES} lines has two jobs. Find them, and give each a module of its own name."
    ),
}


def _package() -> list[Module]:
    return [Module(p.relative_to(ROOT).as_posix(), p.read_text("utf-8")) for p in sorted(ROOT.rglob("*.py"))]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_module_keeps_the_rule(rule: type) -> None:
    broken = [line for module in _package() for line in rule(module)]

    if broken:
        pytest.fail("\n".join([*broken, "", RULES[rule]]), pytrace=False)


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (rank_violations, "core/a.py", "from qwit_durable.stores import rows"),
        (rank_violations, "core/a.py", "from qwit_durable import engine"),
        (rank_violations, "engine/a.py", "from ..broker import actors"),
        (rank_violations, "stores/a.py", "import qwit_durable.language.step"),
        (rank_violations, "client.py", "def f():\n    from qwit_durable.app import Durable"),
        (rank_violations, "engine/a.py", "from qwit_durable import step"),
        (rank_violations, "helpers.py", ""),
        (core_violations, "core/a.py", "import os.path"),
        (core_violations, "core/a.py", "from collections import abc\nimport logging"),
        (dramatiq_violations, "engine/a.py", "from dramatiq.broker import Broker"),
        (impurity_violations, "engine/a.py", "import time\ntime.monotonic()"),
        (impurity_violations, "engine/a.py", "from time import time as t\nt()"),
        (impurity_violations, "core/a.py", "import datetime as dt\ndt.datetime.now()"),
        (impurity_violations, "core/a.py", "from datetime import datetime\nf = datetime.utcnow"),
        (impurity_violations, "app.py", "from uuid import UUID, uuid4\nUUID(hex=''), uuid4()"),
        (impurity_violations, "app.py", "import random\nrandom.choice([])"),
        (impurity_violations, "app.py", "import os\nos.urandom(4)"),
        (length_violations, "app.py", "\n" * 351),
    ],
)
def test_a_broken_rule_is_seen_once(rule: type, path: str, text: str) -> None:
    assert len(list(rule(Module(path, text)))) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (
            "core/a.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from qwit_durable.app import Durable",
        ),
        ("core/a.py", "from .events import Event\nfrom qwit_durable import errors"),
        ("engine/turning/turns.py", "from uuid import UUID\nimport time\nUUID('')\ntime.strftime('')"),
        ("broker/a.py", "import dramatiq\nfrom qwit_durable.engine import ports"),
        ("clock.py", "import time\nnow = time.time"),
        ("__init__.py", "from qwit_durable.app import Durable"),
        ("cli/main.py", "from qwit_durable.app import Durable\n" + "\n" * 340),
    ],
)
def test_what_is_allowed_is_let_through(path: str, text: str) -> None:
    assert [line for rule in RULES for line in rule(Module(path, text))] == []
