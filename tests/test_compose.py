"""docker-compose.yml says what it should, as far as can be seen without running it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]

ONE_SHOT = {"migrate"}
WITH_DATA = {"postgres", "redis", "rabbitmq"}
PORTS = {"postgresql": 5432, "redis": 6379, "amqp": 5672}

each_service = pytest.mark.parametrize("name", SERVICES)


def without_default(text: str) -> str:
    """The value a variable has when it is not set: `${A:-b}` is b, in the collector's file `${env:A:-b}`."""
    return re.sub(r"\$\{(?:env:)?\w+(?::-([^}]*))?\}", r"\1", text)


def test_the_services_are_those_that_the_documentation_names() -> None:
    by_profile = {name: service.get("profiles", []) for name, service in SERVICES.items()}

    assert by_profile == {
        "postgres": [],
        "redis": [],
        "migrate": [],
        "worker": [],
        "rabbitmq": ["rabbitmq"],
        "collector": ["otel"],
        "jaeger": ["otel"],
    }


@each_service
def test_an_image_is_named_with_its_version(name: str) -> None:
    image, _, tag = SERVICES[name]["image"].partition(":")

    assert image
    assert re.match(r"\d", tag), f"{name}: {image}:{tag} may be another program tomorrow"


@each_service
def test_a_service_is_started_again_unless_it_runs_once(name: str) -> None:
    assert SERVICES[name]["restart"] == ("no" if name in ONE_SHOT else "unless-stopped")


@pytest.mark.parametrize("name", sorted(WITH_DATA))
def test_a_server_with_data_says_whether_it_is_well_and_keeps_its_data(name: str) -> None:
    service = SERVICES[name]

    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert {"interval", "timeout", "retries"} <= service["healthcheck"].keys()
    assert any(volume.startswith(f"{name}-data:") for volume in service["volumes"])


@each_service
def test_a_service_waits_for_one_that_exists_and_can_say_that_it_is_ready(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        expected = {
            "service_healthy": "healthcheck" in SERVICES[other],
            "service_completed_successfully": other in ONE_SHOT,
            "service_started": "healthcheck" not in SERVICES[other] and other not in ONE_SHOT,
        }
        assert expected[how["condition"]], f"{name} waits for {other}: {how['condition']}"


@each_service
def test_a_default_service_does_not_wait_for_one_of_a_profile(name: str) -> None:
    profiles = SERVICES[name].get("profiles", [])

    for other in SERVICES[name].get("depends_on", {}):
        assert set(SERVICES[other].get("profiles", [])) <= set(profiles)


@each_service
def test_a_port_is_open_to_this_machine_alone(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("name", ["migrate", "worker"])
@pytest.mark.parametrize("variable", ["QWIT_STORE_URL", "REDIS_URL"])
def test_a_url_leads_to_a_service_that_the_program_waits_for(name: str, variable: str) -> None:
    url = urlsplit(without_default(SERVICES[name]["environment"][variable]))

    assert url.port == PORTS[url.scheme]
    assert url.hostname in SERVICES
    if name == "worker":
        assert url.hostname in _waits_for(name)


def test_the_store_is_the_database_that_postgres_creates() -> None:
    url = urlsplit(SERVICES["worker"]["environment"]["QWIT_STORE_URL"])
    made = SERVICES["postgres"]["environment"]

    assert (url.username, url.password, url.path) == (
        made["POSTGRES_USER"],
        made["POSTGRES_PASSWORD"],
        f"/{made['POSTGRES_DB']}",
    )


@each_service
def test_a_mounted_file_exists(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source = volume.split(":")[0]
        if not source.startswith("."):
            assert source in COMPOSE["volumes"]
        elif source.startswith("./otel/") and not (ROOT / "otel").exists():
            pytest.skip("there is no otel/ yet")
        else:
            assert (ROOT / source).exists(), f"{name} mounts {source}"


def test_the_worker_runs_a_module_that_exists() -> None:
    if not (ROOT / "examples" / "workers").exists():
        pytest.skip("there is no examples/workers yet")
    found = re.search(
        r"exec dramatiq ([\w.]+) --processes \d+ --threads \d+$", SERVICES["worker"]["command"][-1]
    )

    assert found
    module = ROOT / found[1].replace(".", "/")
    assert module.with_suffix(".py").exists() or (module / "__init__.py").exists()


def test_the_worker_installs_extras_that_exist() -> None:
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    found = re.search(r"pip install --quiet '\.\[([\w,]+)\]'", SERVICES["worker"]["command"][-1])

    assert found
    assert set(found[1].split(",")) <= extras.keys()


def test_the_collector_sends_to_services_of_its_profile() -> None:
    path = ROOT / "otel" / "collector.yaml"
    if not path.parent.exists():
        pytest.skip("there is no otel/ yet")
    exporters = yaml.safe_load(path.read_text("utf-8"))["exporters"] or {}
    endpoints = [each["endpoint"] for each in exporters.values() if each and "endpoint" in each]

    hosts = {re.sub(r"^\w+://", "", without_default(each)).partition(":")[0] for each in endpoints}

    assert hosts - {"0.0.0.0", "localhost"} <= {
        n for n, s in SERVICES.items() if "otel" in s.get("profiles", [])
    }


def _waits_for(name: str) -> set[str]:
    direct = set(SERVICES[name].get("depends_on", {}))
    return direct.union(*(_waits_for(other) for other in direct))
