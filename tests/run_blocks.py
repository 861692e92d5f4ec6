"""Runs the Python blocks of one Markdown file, in order and in one namespace: `python -m tests.run_blocks FILE`.

Each block keeps its place in the file, so that errors and messages name the line that a reader sees. A block after
`<!-- not run: reason -->` is left out. A text block after `<!-- prints -->` is what the Python block before it must
have printed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import ModuleType

import attrs

_FENCE = re.compile(
    r"^(?:<!-- (?P<mark>not run: .+|prints) -->\n+)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)


@attrs.frozen
class Block:
    language: str
    mark: str
    text: str
    line: int

    @property
    def is_run(self) -> bool:
        return self.language == "python" and not self.mark


def blocks(path: Path) -> Iterator[Block]:
    source = path.read_text(encoding="utf-8")
    for found in _FENCE.finditer(source):
        line = source.count("\n", 0, found.start("text"))
        yield Block(found["language"], found["mark"] or "", found["text"], line)


def run(path: Path) -> None:
    module = ModuleType("document")
    sys.modules["document"] = module
    printed = ""
    for block in blocks(path):
        if block.is_run:
            code = compile("\n" * block.line + block.text, str(path), "exec")
            with redirect_stdout(StringIO()) as output:
                exec(code, module.__dict__)  # noqa: S102 - this is what the file is for
            printed = output.getvalue()
        elif block.mark == "prints" and printed != block.text:
            sys.exit(f"{path}:{block.line}: this is not what was printed, but:\n{printed}")


if __name__ == "__main__":
    run(Path(sys.argv[1]).resolve())
