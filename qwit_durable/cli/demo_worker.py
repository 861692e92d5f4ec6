"""The process that does the demo's work, and is killed half-way: `python -m qwit_durable.cli.demo_worker STORE`.

It works until its standard input ends, so that it does not outlive the demo.
"""

from __future__ import annotations

import sys

from qwit_durable.app import Durable
from qwit_durable.cli import demo_shop

__all__ = ["main"]

_THREADS = 4


def main(store: str) -> None:
    """Work on the runs of a store."""
    assert demo_shop.demo_order is not None  # the import is what makes its workflows known
    with Durable(store).embedded(threads=_THREADS):
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
