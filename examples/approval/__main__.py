"""`python -m examples.approval`: three expenses, with patience measured in fractions of a second."""

from __future__ import annotations

from datetime import timedelta

from examples.approval.workflow import Decision, Expense, board, expense
from qwit_durable import Durable, WorkflowFailed

_SOON = timedelta(milliseconds=200)
_LONG = timedelta(days=2)


def main() -> None:
    with Durable("memory://").embedded(threads=2):
        claims = {
            name: expense.options(id=name).start(Expense(name, 12_345, patience=patience, pays_after=_SOON))
            for name, patience in (("approved", _LONG), ("refused", _LONG), ("forgotten", _SOON))
        }
        claims["approved"].signal("decision", Decision(approved=True, by="Ann"))
        claims["refused"].signal("decision", Decision(approved=False, by="Ben"))
        for name, handle in claims.items():
            try:
                value = handle.result(timeout=30)
                print(f"{name}: {handle.status()}, {value}")
            except WorkflowFailed as failed:
                print(f"{name}: {handle.status()}, {failed.cause}, undone: {', '.join(failed.undone)}")
    print("\nThe board:", *board, sep="\n  ")


if __name__ == "__main__":
    main()
