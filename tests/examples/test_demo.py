from __future__ import annotations

import json
from io import StringIO

import pytest
from rich.console import Console

from qwit_durable.cli.demo import run_demo
from qwit_durable.cli.demo_shop import (
    charge,  # noqa: F401 - the names that this module's tests know
    demo_order,  # noqa: F401
    invoice,  # noqa: F401
    pack,  # noqa: F401
    reserve,  # noqa: F401
    send,  # noqa: F401
    ship,  # noqa: F401
)


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setenv("QWIT_DEMO_STEP_SECONDS", "0.03")


def test_the_demo_kills_its_worker_half_way_and_adds_up():
    output = StringIO()

    code = run_demo(Console(file=output), as_json=True)

    report = json.loads(output.getvalue())
    assert code == 0, report
    assert report["adds_up"]
    assert report["seconds"] < 20
    assert report["kill"]["in_the_middle"] > 0
    assert sum(report["statuses"].values()) == 30
    assert set(report["statuses"]) == {"completed", "compensated", "failed"}


def test_the_demo_is_told_in_words():
    output = StringIO()

    code = run_demo(Console(file=output, width=100), as_json=False)

    text = output.getvalue()
    assert code == 0, text
    assert "kill -9" in text
    assert "It adds up." in text
    assert "WRONG" not in text
