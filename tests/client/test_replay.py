"""Saved histories: what of them today's code must ask for again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from qwit_durable.core import Retry
from qwit_durable.errors import HistoryMismatch
from qwit_durable.language import (
    Workflow,
    gather,
    patched,
    restart,
    saga,
    sleep,
    step,
    wait_signal,
    workflow,
)
from qwit_durable.testing.environment import Environment
from qwit_durable.testing.replay import replay, save_history

calls: list[str] = []


@pytest.fixture
def environment() -> Iterator[Environment]:
    calls.clear()
    with Environment() as environment:
        yield environment


@step(retry=Retry(max_attempts=2, first=timedelta(seconds=1)))
def charge(order: str, cents: float) -> dict[str, float]:
    calls.append("charge")
    if cents < 0:
        raise ValueError(order)
    return {order: cents}


@charge.undo
def refund(order: str) -> None:
    calls.append("refund")


@step
def pack(item: str) -> str:
    return item


@workflow(version="1")
def checkout(order: str, cents: float = 0.1) -> Workflow[str]:
    paid = yield from charge(order, cents)
    yield from gather(pack("tea"), branch())
    yield from wait_signal("go")
    return f"{order} {paid[order]}"


def branch() -> Workflow[None]:
    yield from sleep(timedelta(seconds=1))
    yield from pack("mug")


@workflow
def failing() -> Workflow[None]:
    yield from charge("a", 1)
    message = "no room"
    raise ValueError(message)


@workflow
def parent() -> Workflow[str]:
    value = yield from checkout("é")
    yield from failing()
    return value


@workflow
def going_round(times: int) -> Workflow[int]:
    yield from charge("a", times)
    if times:
        yield from restart(times - 1)
    yield from wait_signal("go")
    return times


@workflow
def careful() -> Workflow[str]:
    try:
        yield from saga(failing_part())
    except ValueError:
        return "went another way"
    return "never"


def failing_part() -> Workflow[None]:
    yield from charge("a", 1)
    message = "no room"
    raise ValueError(message)


def run(environment: Environment, body: Any, *args: Any, go: bool = True) -> str:
    handle = environment.start(body.options(id="r"), *args)
    if go:
        handle.signal("go", {"by": "ann"})
    environment.settle(until=environment.clock.now() + timedelta(minutes=1))
    calls.clear()
    return save_history(handle)


def changed(monkeypatch: pytest.MonkeyPatch, body: Any, fn: Callable[..., Any]) -> Any:
    monkeypatch.setattr(body, "fn", fn)
    return body


@pytest.mark.parametrize(
    ("body", "args", "go"),
    [
        (checkout, ("a",), True),
        (checkout, ("a",), False),
        (checkout, ("a", -1.0), True),
        (failing, (), True),
        (going_round, (2,), True),
        (going_round, (2,), False),
        (careful, (), True),
    ],
)
def test_the_code_that_wrote_a_history_fits_it(
    environment: Environment, body: Any, args: Any, go: bool
) -> None:
    text = run(environment, body, *args, go=go)

    replay(body, text)

    assert calls == []


def test_a_cancelled_run_and_a_sub_workflow_that_was_undone_fit(environment: Environment) -> None:
    handle = environment.start(parent.options(id="p"))
    environment.settle(until=environment.clock.now() + timedelta(minutes=1))
    (child,) = environment.store.children(handle.run().run_id)
    environment.get(child.run.key).signal("go")
    environment.settle(until=environment.clock.now() + timedelta(minutes=1))
    cancelled = environment.start(checkout.options(id="c"), "a")
    environment.settle(until=environment.clock.now() + timedelta(minutes=1))
    cancelled.cancel("enough")
    environment.settle(until=environment.clock.now() + timedelta(minutes=1))

    for key in ("p", child.run.key, "c"):
        found = environment.get(key)
        assert found.status().is_ended
        replay(environment.registry.workflow(found.run().workflow), save_history(found))  # type: ignore[arg-type]


def test_a_history_is_the_same_through_a_file_and_as_data(environment: Environment, tmp_path: Path) -> None:
    text = run(environment, checkout, "é")
    path = tmp_path / "history.json"
    path.write_text(text, encoding="utf-8")

    replay(checkout, path)
    replay(checkout, json.loads(text))


def test_it_is_readable_and_names_no_file(environment: Environment) -> None:
    text = run(environment, checkout, "é", -1.0)

    data = json.loads(text)
    assert data["args"] == {"order": "é", "cents": -1.0}
    assert (data["workflow"], data["version"], data["status"]) == ("checkout", "1", "failed")
    assert __file__ not in text


def test_another_command_names_the_place_and_the_line(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = run(environment, checkout, "a")

    def fn(order: str, cents: float = 0.1) -> Workflow[str]:
        yield from charge(order, cents)
        yield from gather(pack("coffee"), branch())
        return "never"

    with pytest.raises(HistoryMismatch) as caught:
        replay(changed(monkeypatch, checkout, fn), text)

    assert caught.value.position == "1.0"
    told = str(caught.value)
    assert "the history of run r does not match today's workflow 'checkout' at position 1.0." in told
    assert 'recorded: step \'pack\' {"item":"tea"}' in told
    assert f'found:    step \'pack\' {{"item":"coffee"}}   at {__file__}:' in told
    assert "- " in told


def test_a_body_that_ends_earlier_does_not_fit(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = run(environment, checkout, "a")

    def fn(order: str, cents: float = 0.1) -> Workflow[str]:
        yield from charge(order, cents)
        return "done"

    with pytest.raises(HistoryMismatch, match="found:    nothing: the body has ended by then"):
        replay(changed(monkeypatch, checkout, fn), text)


def test_a_body_that_goes_on_where_the_run_ended_does_not_fit(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, old = run(environment, careful), careful.fn

    def fn() -> Workflow[str]:
        yield from old()
        return (yield from pack("more"))

    with pytest.raises(
        HistoryMismatch, match=r"recorded: the run ended here: completed\n.*goes on with step 'pack'"
    ):
        replay(changed(monkeypatch, careful, fn), text)


def test_another_value_does_not_fit(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    text, old = run(environment, careful), careful.fn

    def fn() -> Workflow[str]:
        yield from old()
        return "elsewhere"

    with pytest.raises(HistoryMismatch, match='completed "went another way"'):
        replay(changed(monkeypatch, careful, fn), text)


def test_a_body_that_no_longer_fails_does_not_fit(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = run(environment, failing)

    def fn() -> Workflow[None]:
        yield from charge("a", 1)

    with pytest.raises(HistoryMismatch, match=r"recorded: the body failed here: ValueError: no room"):
        replay(changed(monkeypatch, failing, fn), text)


def test_a_patched_body_fits_old_histories(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    text, old = run(environment, checkout, "a", go=False), checkout.fn

    def fn(order: str, cents: float = 0.1) -> Workflow[str]:
        if (yield from patched("coffee")):
            yield from pack("coffee")
        return (yield from old(order, cents))

    replay(changed(monkeypatch, checkout, fn), text)


def test_what_is_no_saved_history_is_told() -> None:
    with pytest.raises(ValueError, match="no saved history of format 1"):
        replay(checkout, "{}")
