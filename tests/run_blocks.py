"""Runs the Python blocks of a Markdown file, in order, in one namespace and in an empty folder.

    python -m tests.run_blocks FILE

Each block keeps its place in the file, so that errors and messages name the line that a reader sees. A block after
`<!-- not run: reason -->` is left out. A text block after `<!-- prints -->` is what the Python block before it must
have printed; `--write` puts in what it prints now. A block after `<!-- misuse -->`, and the text after `<!-- says -->`,
are for `tests.misuse`.
"""

from __future__ import annotations

import linecache
import re
import sys
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import attrs

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>not run: [^\n]+|prints|misuse[^\n]*|says) -->\n+)?```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


@attrs.frozen
class Block:
    language: str
    mark: str
    text: str
    begin: int
    line: int

    @property
    def is_run(self) -> bool:
        return self.language == "python" and not self.mark


def blocks(source: str) -> Iterator[Block]:
    for found in _BLOCK.finditer(source):
        begin = found.start("text")
        yield Block(
            found["language"], found["mark"] or "", found["text"], begin, source.count("\n", 0, begin)
        )


def run(path: Path, *, write: bool) -> bool:
    """Run the file's blocks; tell whether all prints what the file says."""
    source = path.read_text(encoding="utf-8")
    name = str(path.relative_to(ROOT))
    linecache.getlines(name)  # so that messages which quote the source find it
    module = ModuleType("document")
    sys.modules["document"] = module
    printed, changes = "", []
    for block in blocks(source):
        if block.is_run:
            code = compile("\n" * block.line + block.text, name, "exec")
            with redirect_stdout(StringIO()) as output:
                exec(code, module.__dict__)
            printed = output.getvalue()
        elif block.mark == "prints" and printed != block.text:
            changes.append((block, printed))
            sys.stderr.write(f"{name}:{block.line}: the block before it printed\n{printed}\n")
    if write:
        for block, text in reversed(changes):
            source = source[: block.begin] + text + source[block.begin + len(block.text) :]
        path.write_text(source, encoding="utf-8")
    return not changes or write


if __name__ == "__main__":
    *options, document = sys.argv[1:]
    path = Path(document).resolve()
    with TemporaryDirectory() as folder, chdir(folder):
        is_true = run(path, write=options == ["--write"])
    sys.exit(not is_true)
