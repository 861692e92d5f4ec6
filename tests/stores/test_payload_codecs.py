"""What users' values look like in a store whose payloads are compressed and encrypted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwit_durable import (
    DefinitionError,
    Durable,
    GiveUp,
    PayloadError,
    Retry,
    Workflow,
    WorkflowFailed,
    compensate,
    gather,
    map_steps,
    publish,
    step,
    wait_signal,
    workflow,
)
from qwit_durable.clock import ManualClock
from qwit_durable.codec import AesGcmCodec, ZlibCodec
from qwit_durable.codec.chaining import chained
from qwit_durable.stores import open_store
from qwit_durable.testing.environment import Environment

OLD, NEW = AesGcmCodec.new_key(), AesGcmCodec.new_key()


@step
def echo(text: str) -> str:
    return f"value-{text}"


@echo.undo
def forget(text: str, result: str) -> None:
    _ = text, result


@step(retry=Retry(max_attempts=2, first=timedelta(0)))
def refuse(text: str) -> None:
    raise GiveUp(f"error-{text}")


@workflow
def child(text: str) -> Workflow[str]:
    return (yield from echo(text))


@workflow
def everything(text: str, fails: bool) -> Workflow[str]:
    yield from publish("shown", f"published-{text}")
    yield from compensate(echo(f"owed-{text}"))
    first = yield from echo(text)
    second = yield from gather(echo(f"queued-{text}"), child(f"child-{text}"))
    third = yield from map_steps(echo, [f"item-{text}"])
    said = yield from wait_signal("word", type=str)
    if fails:
        yield from refuse(text)
    return f"{first}{second}{third}{said}"


def play(environment: Environment, *, fails: bool) -> Any:
    """A run with every kind of payload in it."""
    handle = environment.start(everything, "marker", fails=fails)
    handle.signal("word", "signal-marker")
    environment.settle()
    return handle


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store in a file, and one on a server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/sealed.db"
    return str(request.getfixturevalue("postgres_url"))


@contextlib.contextmanager
def opened(url: str, codec: Any) -> Iterator[Environment]:
    """A process on a store, with a codec."""
    clock = ManualClock()
    store = open_store(url, clock=clock, payload_codec=chained(codec))
    store.migrate()
    store.open()
    try:
        yield Environment(store, clock=clock)
    finally:
        store.close()


# -- through a store -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", [[ZlibCodec(above_bytes=10), AesGcmCodec({"new": NEW})]], ids=["both"])
def test_runs_behave_as_without_a_codec(url: str, codec: Any) -> None:
    with opened(url, codec) as environment:
        done, failed = play(environment, fails=False), play(environment, fails=True)

        assert "value-markervalue" not in done.result(0)
        assert done.result(0).startswith("value-marker(")
        with pytest.raises(WorkflowFailed, match="error-marker") as caught:
            failed.result(0)
        assert set(caught.value.undone) >= {"echo"}
        assert done.published()["shown"] == "published-marker"
        assert "marker" in str(done.history())


def test_no_argument_value_error_or_signal_lies_readable_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "sealed.db"

    for number, codec in enumerate([None, AesGcmCodec({"new": NEW})]):
        place = path.with_stem(f"sealed{number}")
        with opened(f"sqlite:///{place}", codec) as environment:
            play(environment, fails=False)
            play(environment, fails=True)
            waiting = environment.start(everything, "marker", fails=False)
            environment.answer_bells()
            assert waiting.status().value == "running"
            data = b"".join(file.read_bytes() for file in tmp_path.glob(f"{place.stem}*"))

        assert (b"marker" in data) is (codec is None)
        # Names stay readable: the store looks for them.
        assert b"everything" in data


def test_a_new_key_seals_and_the_old_one_still_opens(url: str) -> None:
    with opened(url, AesGcmCodec({"old": OLD})) as environment:
        first = play(environment, fails=False)

    with opened(url, AesGcmCodec({"new": NEW, "old": OLD})) as environment:
        value = environment.get(first.id).result(0)
        second = play(environment, fails=False)
    with opened(url, AesGcmCodec({"new": NEW})) as environment:
        again = environment.get(second.id).result(0)
        with pytest.raises(
            PayloadError, match="sealed with key 'old', which this process does not have"
        ) as caught:
            environment.get(first.id)

    assert value == again
    assert caught.value.key_id == "old"


def test_a_store_without_a_codec_is_moved_over_run_by_run(url: str) -> None:
    with opened(url, None) as environment:
        plain = environment.start(everything, "marker", fails=False)
        environment.settle()

    with (
        opened(url, AesGcmCodec({"new": NEW})) as environment,
        pytest.raises(PayloadError, match="not encrypted"),
    ):
        environment.get(plain.id)
    with opened(url, AesGcmCodec({"new": NEW}, accept_plain=True)) as environment:
        handle = environment.get(plain.id)
        handle.signal("word", "signal-marker")
        environment.settle()

        assert handle.result(0).startswith("value-marker(")


def test_a_process_without_the_codec_says_that_it_needs_one(url: str) -> None:
    with opened(url, AesGcmCodec({"new": NEW})) as environment:
        handle = play(environment, fails=False)

    with opened(url, None) as environment, pytest.raises(PayloadError, match="has no codec"):
        _ = environment.get(handle.id).history()


# -- by themselves ---------------------------------------------------------------------------------------------


@given(st.binary(max_size=3000))
def test_whatever_goes_in_comes_out(data: bytes) -> None:
    codecs = [ZlibCodec(above_bytes=0), ZlibCodec(), AesGcmCodec({"new": NEW})]

    for codec in (*codecs, chained(codecs)):
        assert codec is not None
        assert codec.open(codec.seal(data)) == data


@given(st.data())
def test_a_changed_byte_is_noticed_wherever_it_is(data: st.DataObject) -> None:
    codec = AesGcmCodec({"new": NEW})
    sealed = bytearray(codec.seal(b'{"a": 1}'))
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= data.draw(st.integers(1, 255))

    with pytest.raises(PayloadError):
        codec.open(bytes(sealed))


@given(st.integers(0, 40))
def test_what_is_cut_off_is_noticed(length: int) -> None:
    codec = AesGcmCodec({"new": NEW})

    with pytest.raises(PayloadError):
        codec.open(codec.seal(b"1")[:length])


def test_another_key_under_the_same_id_is_told_from_damage() -> None:
    sealed = AesGcmCodec({"key": OLD}).seal(b"1")

    with pytest.raises(PayloadError, match="another key of the id 'key'"):
        AesGcmCodec({"key": NEW}).open(sealed)
    with pytest.raises(PayloadError, match="damaged or was tampered with"):
        AesGcmCodec({"key": OLD}).open(sealed[:-1] + bytes([sealed[-1] ^ 1]))


def test_the_same_payload_is_sealed_differently_each_time() -> None:
    codec = AesGcmCodec({"key": NEW})

    assert codec.seal(b"1") != codec.seal(b"1")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "at least one key"),
        ({"": NEW}, "1 to 255 bytes"),
        ({"a": b"short"}, "key 'a' is not 32 bytes"),
        ({"a": "not base64!"}, "key 'a' is not 32 bytes"),
        ({"a": NEW[:-4]}, "key 'a' is not 32 bytes"),
    ],
)
def test_a_key_that_is_none_is_refused_without_being_shown(keys: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message) as caught:
        AesGcmCodec(keys)

    assert "short" not in str(caught.value)
    assert "base64!" not in str(caught.value)


def test_only_large_payloads_are_compressed_and_only_if_that_helps() -> None:
    codec = ZlibCodec(above_bytes=100)

    assert codec.seal(b"a" * 100) == b"a" * 100
    assert len(codec.seal(b"a" * 101)) < 30
    assert len(codec.seal(AesGcmCodec.new_key().encode() * 3)) <= 3 * len(NEW)


def test_a_damaged_compressed_payload_is_refused() -> None:
    sealed = ZlibCodec(above_bytes=1).seal(b"a" * 1000)

    with pytest.raises(PayloadError, match="can't be decompressed"):
        ZlibCodec().open(sealed[:-3])


def test_what_is_no_codec_is_refused_by_durable() -> None:
    for wrong in (object(), AesGcmCodec, [ZlibCodec(), None]):
        with pytest.raises(DefinitionError, match="codec is an object with seal"):
            Durable("memory://", codec=wrong)


def test_a_codec_beside_a_store_object_is_refused(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/x.db")

    with pytest.raises(DefinitionError, match="codec goes to the store"):
        Durable(store, codec=ZlibCodec())


def test_durable_seals_what_it_stores(tmp_path: Path) -> None:
    path = tmp_path / "sealed.db"
    durable = Durable(f"sqlite:///{path}", codec=AesGcmCodec({"new": NEW}))

    handle = durable.start(child, "marker")
    data = b"".join(file.read_bytes() for file in tmp_path.glob("sealed*"))
    found = durable.get(handle.id).history()
    durable.close()

    assert b"marker" not in data
    assert found is not None
