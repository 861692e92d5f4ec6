"""What a run lets others see, from outside."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import attrs
import pytest

from qwit_durable.client.published import Published
from qwit_durable.errors import EncodingError
from qwit_durable.ids import new_run_id
from qwit_durable.stores.rows import PublishedRow

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
RUN = new_run_id(AT)


@attrs.frozen
class Progress:
    done: int
    day: date


def row(key: str, value: bytes) -> PublishedRow:
    return PublishedRow(run_id=RUN, key=key, value=value, at=AT)


ROWS = [row("note", b'"loading"'), row("progress", b'{"day":"2026-01-01","done":3}')]


def test_values_are_what_json_has() -> None:
    found = Published(ROWS)

    assert found == {"note": "loading", "progress": {"done": 3, "day": "2026-01-01"}}
    assert found.at == {"note": AT, "progress": AT}


def test_a_value_can_be_asked_for_as_a_type() -> None:
    found = Published(ROWS, {"progress": Progress})

    assert found == {"note": "loading", "progress": Progress(3, date(2026, 1, 1))}


def test_all_values_can_be_asked_for_as_one_type() -> None:
    found = Published([row("a", b"[1]"), row("b", b"[]")], tuple[int, ...])

    assert found == {"a": (1,), "b": ()}


def test_a_value_of_another_type_names_its_key() -> None:
    with pytest.raises(EncodingError, match=r"published as 'note' is no .*Progress"):
        Published(ROWS, Progress)


def test_its_text_has_a_line_for_each() -> None:
    lines: Iterator[Any] = iter(str(Published(ROWS)).splitlines())

    assert next(lines) == 'note: "loading"'
    assert next(lines).startswith('progress: {"day"')
