from __future__ import annotations

from qwit_durable import Retry, Workflow, step, workflow

#: What the steps do to the world, in the order in which they did it.
log: list[str] = []


class CardDeclined(Exception):
    """The card does not cover the holiday."""


@step
def reserve_seat(flight: str) -> str:
    seat = "12A"
    log.append(f"reserve seat {seat} on {flight}")
    return seat


@reserve_seat.undo
def release_seat(flight: str, result: str) -> None:
    log.append(f"release seat {result} on {flight}")


@step
def issue_ticket(flight: str, seat: str) -> str:
    log.append(f"issue ticket for {seat} on {flight}")
    return f"T-{flight}-{seat}"


@issue_ticket.undo
def void_ticket(result: str) -> None:
    log.append(f"void ticket {result}")


@step
def insure(tickets: tuple[str, str]) -> str:
    log.append(f"insure {' and '.join(tickets)}")
    return "POL-1"


@insure.undo
def cancel_insurance(result: str) -> None:
    log.append(f"cancel insurance {result}")


@step
def book_room(city: str) -> str:
    log.append(f"book room in {city}")
    return "room 7"


@book_room.undo
def cancel_room(city: str, result: str) -> None:
    log.append(f"cancel {result} in {city}")


@step(retry=Retry(give_up_on=(CardDeclined,)))
def pay(cents: int, limit: int) -> None:
    if cents > limit:
        raise CardDeclined(f"{cents / 100:.2f} is over {limit / 100:.2f}")
    log.append(f"pay {cents / 100:.2f}")


@workflow
def fly(flight: str) -> Workflow[str]:
    seat = yield from reserve_seat(flight)
    return (yield from issue_ticket(flight, seat))


@workflow
def travel(city: str) -> Workflow[str]:
    there = yield from fly(f"{city}-out")
    back = yield from fly(f"{city}-back")
    return (yield from insure((there, back)))


@workflow
def holiday(city: str, limit: int) -> Workflow[str]:
    policy = yield from travel(city)
    room = yield from book_room(city)
    yield from pay(120_000, limit)
    return f"{city}: {room}, insured by {policy}"
