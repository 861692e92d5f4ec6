"""An order as a flow: classes that share a state, one of which waits for the bank, on the way back too."""

from __future__ import annotations

from typing import Any

from qwit_durable import CONTINUE, GiveUp, flow

State = dict[str, Any]

#: What the classes do to the world: here, lines of a notice board.
board: list[str] = []


class Reserve:
    def run(self, state: State) -> State:
        board.append(f"{state['order']}: reserved")
        return {"shelf": 7}

    def rollback(self, state: State) -> None:
        board.append(f"{state['order']}: put back on shelf {state['shelf']}")


class Pay:
    def run(self, state: State) -> Any:
        board.append(f"{state['order']}: asked for {state['cents']} {state['currency']}")
        return CONTINUE({"asked": True})

    def run_continue(self, signal: str, state: State) -> State:
        board.append(f"{state['order']}: paid with {signal}")
        return {"payment": signal}

    def rollback(self, state: State) -> Any:
        if "payment" not in state:
            return None
        board.append(f"{state['order']}: asked to give {state['payment']} back")
        return CONTINUE

    def rollback_continue(self, signal: str, state: State) -> None:
        board.append(f"{state['order']}: {state['payment']} is back: {signal}")


class Mail:
    queue = "mail"

    def run(self, state: State) -> State:
        if state.get("address") == "nowhere":
            raise GiveUp(f"{state['order']}: nobody lives there")
        board.append(f"{state['order']}: sent to {state['address']}")
        return {"parcel": f"parcel of {state['order']}"}


order = flow("order", [Reserve, Pay, Mail])
