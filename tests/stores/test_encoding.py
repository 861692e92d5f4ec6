"""Facts come back from their columns as they went in."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from qwit_durable.core import Kind, Resolved, Value
from qwit_durable.errors import StoreError
from qwit_durable.stores.encoding import Encoding
from qwit_durable.testing.contract.facts import events, failures, specs


class Reversed:
    """A codec that can be seen at work."""

    def seal(self, data):
        return b"sealed:" + data[::-1]

    def open(self, data):
        assert data.startswith(b"sealed:")
        return data.removeprefix(b"sealed:")[::-1]


ENCODINGS = [Encoding(), Encoding(Reversed())]


@given(event=events)
def test_every_event_comes_back_as_it_went_in(event):
    for encoding in ENCODINGS:
        assert encoding.read_event(encoding.write_event(event)) == event


@given(failure=failures)
def test_a_failure_comes_back_with_its_traceback(failure):
    for encoding in ENCODINGS:
        found = encoding.read_failure(encoding.write_failure(failure))

        assert found == failure
        assert found.traceback == failure.traceback


@given(spec=specs)
def test_a_spec_comes_back_as_it_went_in(spec):
    for encoding in ENCODINGS:
        assert encoding.read_spec(encoding.write_spec(spec)) == spec


@given(event=events)
def test_a_codec_sees_every_payload_and_no_column_is_missing(event):
    kind, position, name, attempt, args, value, detail = Encoding(Reversed()).write_event(event)

    assert isinstance(kind, str)
    assert isinstance(position, str)
    assert isinstance(name, str)
    assert isinstance(attempt, int)
    assert all(not sealed or sealed.startswith(b"sealed:") for sealed in (args, value))
    assert isinstance(detail, bytes)


def test_bytes_that_are_no_text_are_kept_inside_json():
    from qwit_durable.core import Completed, Debt, DebtKind

    event = Completed(
        owed=(Debt(position="1", kind=DebtKind.UNDO, name="x", args=b"\xff\x00\xc3", result=b""),)
    )

    assert Encoding().read_event(Encoding().write_event(event)) == event


def test_keys_of_a_newer_release_are_ignored():
    event = Resolved(position="1", kind=Kind.SLEEP, name="sleep", outcome=Value())
    *columns, detail = Encoding().write_event(event)

    newer = json.dumps({**json.loads(detail), "mood": "fine"}).encode()

    assert Encoding().read_event([*columns, newer]) == event


@pytest.mark.parametrize(
    "columns",
    [
        ("dreamed", "1", "x", 0, b"", b"", b""),
        ("scheduled", "1", "x", 0, b"null", b"", b"{"),
        ("scheduled", "1", "x", 0, b"null", b"", b"{}"),
        ("scheduled", "1", "x", 0, b"null", b"", b'{"kind": "dream"}'),
        ("resolved", "1", "x", 0, b"null", b"", b'{"outcome": "dream"}'),
    ],
)
def test_what_cannot_be_read_is_named(columns):
    with pytest.raises(StoreError, match=columns[0]):
        Encoding().read_event(columns)
