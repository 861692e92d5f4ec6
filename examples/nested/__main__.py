"""`python -m examples.nested`: one holiday that is paid for, one that is not."""

from __future__ import annotations

from examples.nested.workflow import holiday, log
from qwit_durable import Durable, WorkflowFailed


def main() -> None:
    with Durable("memory://").embedded(threads=2):
        print(holiday.start("Lisbon", limit=200_000).result(timeout=10))
        log.clear()
        try:
            holiday.start("Oslo", limit=100_000).result(timeout=10)
        except WorkflowFailed as failed:
            print(f"\nOslo: {failed.cause}")
            print("undone by the holiday itself:", ", ".join(failed.undone))
    print("\nEverything that happened, and unhappened:", *log, sep="\n  ")


if __name__ == "__main__":
    main()
