"""Runs the snippets of the catalogue of misuse, each in a file of its own, and tells what a user is told.

    python -m tests.misuse          checks docs/misuse.md
    python -m tests.misuse --write  puts in what is said now

A snippet stands after `<!-- misuse -->`, and what it says after `<!-- says -->`. The first Python block of the page,
`basics.py`, holds what the snippets use. A snippet is the file `shop.py`; its runs are carried out in virtual time, as
soon as they are started, under the ids `run-1`, `run-2`, …. What is said is the exception that leaves the snippet, or
else what was logged. After `<!-- misuse without a Durable -->` none is there; after `<!-- misuse of Postgres -->` the
server at `postgresql://localhost/shop` is a real one, without a schema.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import attrs

from qwit_durable.client.handle import Handle
from qwit_durable.language.current import _installed
from qwit_durable.language.options import StartOptions
from qwit_durable.registry import default_registry
from qwit_durable.stores.rows import Ring
from qwit_durable.testing.environment import Environment
from tests.run_blocks import ROOT, Block, blocks

__all__ = ["PAGE", "Snippet", "basics", "said_by", "snippets"]

PAGE = ROOT / "docs/misuse.md"
SERVER = "postgresql://localhost/shop"
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
#: What grows with each release: it is shown as `…`.
_GROWING = re.compile(r"(?<=this code knows up to )\d+|(?<=Known: ).+")
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_HEADING = re.compile(r"^### (.+)$", re.MULTILINE)


@attrs.frozen
class Snippet:
    title: str
    code: str
    mark: str
    says: Block

    @property
    def needs_postgres(self) -> bool:
        return self.mark == "misuse of Postgres"

    @property
    def is_alone(self) -> bool:
        return self.mark != "misuse"


def basics(page: str) -> str:
    """What the snippets of the page use."""
    return next(block.text for block in blocks(page) if block.is_run)


def snippets(page: str) -> Iterator[Snippet]:
    """The snippets of the page, under the heading that each one has to itself."""
    wrong: Block | None = None
    for block in blocks(page):
        if block.mark.startswith("misuse"):
            assert wrong is None, f"line {wrong.line}: nothing is said about it"
            wrong = block
        elif block.mark == "says":
            assert wrong is not None, f"line {block.line}: said about nothing"
            title = _HEADING.findall(page, 0, wrong.begin)[-1]
            yield Snippet(title, wrong.text, wrong.mark, block)
            wrong = None


class Shop(Environment):
    """An environment that carries out what is asked of it at once."""

    def __init__(self) -> None:
        super().__init__()
        self._starts = 0
        self._at_rest = True

    def start_run(
        self,
        definition: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        options: StartOptions,
    ) -> Handle[Any]:
        if options.id is None:
            self._starts += 1
            options = attrs.evolve(options, id=f"run-{self._starts}")
        return super().start_run(definition, args, kwargs, options)

    def ring(self, rings: Sequence[Ring]) -> None:
        super().ring(rings)
        if self._at_rest:
            self._at_rest = False
            self.settle()
            self._at_rest = True


class _Heard(logging.Handler):
    """Keeps the messages of warnings and errors."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(f"{record.levelname} {record.name}: {record.getMessage()}")


def said_by(snippet: Snippet, given: str, *, server: str = SERVER) -> str:
    """Run a snippet and tell what is said."""
    heard = _Heard()
    logger = logging.getLogger("qwit_durable")
    logger.addHandler(heard)
    try:
        with TemporaryDirectory() as name, chdir(name), default_registry.restored(), no_others():
            folder = Path(name).resolve()
            error = _run(folder, given, snippet.code.replace(SERVER, server), is_alone=snippet.is_alone)
            text = "\n".join(heard.said) if error is None else _shown(error)
            text = text.replace(f"{folder}/", "").replace(server, SERVER)
            return _GROWING.sub("…", _ADDRESS.sub("", _UUID.sub("…", text))) + "\n"
    finally:
        logger.removeHandler(heard)


@contextmanager
def no_others() -> Iterator[None]:
    """Without the Durables that tests before this one have installed and not yet lost."""
    others = [*_installed]
    _installed[:] = []
    try:
        yield
    finally:
        _installed[:] = others


def _shown(error: Exception) -> str:
    said = str(error)
    kind = type(error).__name__
    return f"{kind}: {said}" if said else kind


def _run(folder: Path, given: str, code: str, *, is_alone: bool) -> Exception | None:
    module = sys.modules["shop"] = ModuleType("shop")
    try:
        _execute(folder / "basics.py", given, module)
        with nullcontext() if is_alone else Shop():
            _execute(folder / "shop.py", code, module)
    except Exception as error:  # noqa: BLE001 - it is what the snippet is for
        return error
    else:
        return None
    finally:
        del sys.modules["shop"]


def _execute(path: Path, code: str, module: ModuleType) -> None:
    path.write_text(code, encoding="utf-8")
    exec(compile(code, str(path), "exec"), module.__dict__)


def main(*, write: bool) -> bool:
    """Check the page, or bring it up to date; tell whether it is."""
    from tests.servers.postgres import PostgresServer

    page = PAGE.read_text(encoding="utf-8")
    given = basics(page)
    changes: list[tuple[Block, str]] = []
    for snippet in snippets(page):
        if snippet.needs_postgres:
            with PostgresServer() as server:
                said = said_by(snippet, given, server=server.create_database())
        else:
            said = said_by(snippet, given)
        if said != snippet.says.text:
            changes.append((snippet.says, said))
            sys.stderr.write(f"{snippet.title}:\n{said}\n")
    if write:
        for block, text in reversed(changes):
            page = page[: block.begin] + text + page[block.begin + len(block.text) :]
        PAGE.write_text(page, encoding="utf-8")
    return write or not changes


if __name__ == "__main__":
    sys.exit(not main(write="--write" in sys.argv[1:]))
