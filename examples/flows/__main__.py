"""`python -m examples.flows`: two orders in this process, one of which is rolled back."""

from __future__ import annotations

import time

from examples.flows.work import board, order
from qwit_durable import Durable, Handle, WorkflowFailed


def waits_for(handle: Handle[dict[str, object]], signal: str) -> None:
    while not any(wait.what == signal for wait in handle.explain().waits):
        time.sleep(0.01)


def main() -> None:
    with Durable("memory://").embedded(threads=2):
        state = {"order": "tea", "cents": 900, "currency": "CHF", "address": "Elm Street 3"}
        sent = order.start(state)
        sent.signal("Pay", "card 4242")
        print(f"tea: {sent.result(timeout=30)['parcel']}")

        lost = order.start({**state, "order": "pot", "address": "nowhere"})
        lost.signal("Pay", "card 4242")
        waits_for(lost, "Pay.rollback")
        lost.signal("Pay.rollback", "booked on Friday")
        try:
            lost.result(timeout=30)
        except WorkflowFailed as failed:
            print(f"pot: {lost.status()}, undone: {', '.join(failed.undone)}")
    print("\nThe board:", *board, sep="\n  ")


if __name__ == "__main__":
    main()
