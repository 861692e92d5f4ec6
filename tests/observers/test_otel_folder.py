"""What the folder `otel` promises: a configuration that holds together, names that exist, and a page that works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from qwit_durable.observers.catalogue import ATTRIBUTES, METRICS, SPANS
from tests.observers.receiver import Receiver, receiving

_ROOT = Path(__file__).parents[2]
_OTEL = _ROOT / "otel"
_README = (_OTEL / "README.md").read_text()
_COLLECTOR: dict[str, Any] = yaml.safe_load((_OTEL / "collector.yaml").read_text())


def test_every_pipeline_of_the_collector_is_made_of_defined_parts() -> None:
    pipelines: dict[str, Any] = _COLLECTOR["service"]["pipelines"]

    assert set(pipelines) == {"traces", "metrics"}
    for name, pipeline in pipelines.items():
        for kind in ("receivers", "processors", "exporters"):
            assert pipeline[kind], f"{name} has no {kind}"
            assert set(pipeline[kind]) <= set(_COLLECTOR[kind]), f"{kind} of {name}"


def test_every_part_of_the_collector_is_used() -> None:
    pipelines = _COLLECTOR["service"]["pipelines"].values()

    for kind in ("receivers", "processors", "exporters"):
        assert {part for pipeline in pipelines for part in pipeline[kind]} == set(_COLLECTOR[kind])


def test_memory_is_limited_first_and_nothing_samples_the_tail() -> None:
    for pipeline in _COLLECTOR["service"]["pipelines"].values():
        assert pipeline["processors"][0] == "memory_limiter"
    assert not any("tail_sampling" in part for part in _COLLECTOR["processors"])


def test_the_compose_profile_fits_the_collector() -> None:
    services = yaml.safe_load((_ROOT / "docker-compose.yml").read_text())["services"]
    collector = services["collector"]
    protocols = _COLLECTOR["receivers"]["otlp"]["protocols"]

    ports = {str(port).rsplit(":", 1)[-1] for port in collector["ports"]}
    assert ports >= {protocol["endpoint"].rsplit(":", 1)[-1] for protocol in protocols.values()}
    assert any(volume.startswith("./otel/collector.yaml:") for volume in collector["volumes"])
    host, _, port = _COLLECTOR["exporters"]["otlp/traces"]["endpoint"].partition(":")
    assert port == "4317"
    assert services[host]["profiles"] == collector["profiles"] == ["otel"]
    assert any("16686" in str(published) for published in services[host]["ports"])


def test_every_name_in_the_folder_is_in_the_catalogue() -> None:
    known = set(METRICS) | set(ATTRIBUTES)
    for page in _OTEL.iterdir():
        assert set(re.findall(r"`(qwit(?:\.\w+)+)`", page.read_text())) <= known, page.name


def test_the_page_lists_every_span_and_every_metric() -> None:
    for shape in SPANS.values():
        subject = "step" if shape.kind == "CONSUMER" else "workflow"
        assert f"| `{shape.of(f'{{{subject}}}')}` | {shape.kind} |" in _README
    for metric in METRICS.values():
        attributes = ", ".join(f"`{attribute}`" for attribute in metric.attributes)
        assert f"| `{metric.name}` | `{metric.unit}` | {attributes} |" in _README


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Receiver]:
    """What the page's program prints and sends."""
    program = tmp_path_factory.mktemp("readme") / "traced.py"
    (code,) = re.findall(r"```python\n(.*?)```", _README, re.DOTALL)
    program.write_text(code)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    with receiving() as receiver:
        done = subprocess.run(
            [sys.executable, str(program)],
            capture_output=True,
            text=True,
            check=False,
            cwd=program.parent,
            env=kept | {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "PYTHONPATH": str(_ROOT)},
        )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout, receiver


def test_the_program_of_the_page_prints_what_the_page_says(shown: tuple[str, Receiver]) -> None:
    (expected,) = re.findall(r"python traced\.py\n(.*?)…\n```", _README, re.DOTALL)

    assert shown[0].startswith(expected)


def test_the_program_of_the_page_sends_the_trace_that_the_page_shows(shown: tuple[str, Receiver]) -> None:
    (expected,) = re.findall(r"```text\n(start.*?)```", _README, re.DOTALL)
    receiver = shown[1]

    assert _drawn(receiver) == [_indent(line) + " ".join(line.split()) for line in expected.splitlines()]
    assert receiver.services == {"shop"}
    assert receiver.metric_names == set(METRICS)


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _drawn(receiver: Receiver) -> list[str]:
    spans = sorted(receiver.spans, key=lambda span: span.start_time_unix_nano)
    lines: list[str] = []

    def add(parent: bytes, indent: str) -> None:
        for span in spans:
            if span.parent_span_id != parent:
                continue
            attributes = {attribute.key: attribute.value for attribute in span.attributes}
            line = span.name
            if attributes.get("qwit.step.attempt") and attributes["qwit.step.attempt"].int_value > 1:
                line += f" #{attributes['qwit.step.attempt'].int_value}"
            if span.status.code == span.status.STATUS_CODE_ERROR:
                line += " ERROR"
                if span.name.startswith("step "):
                    line += f" {attributes['error.type'].string_value}"
            lines.append(indent + line)
            add(span.span_id, indent + "  ")

    add(b"", "")
    return lines
