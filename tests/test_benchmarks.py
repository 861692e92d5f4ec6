"""The benchmark works; what it measures is no matter here."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import pika
import pika.exceptions
import psycopg
import pytest
from click.testing import CliRunner, Result
from redis import Redis

from benchmarks.questions import work_for
from qwit_durable import Durable
from qwit_durable.bench.ageing import copy_ended
from qwit_durable.bench.bodies import PLAIN_QUEUE, QUEUE, REGISTRY, stamped
from qwit_durable.bench.charts import chart
from qwit_durable.bench.ending import ended_by_signals
from qwit_durable.bench.grouping import Row, insert_by_threads
from qwit_durable.bench.measuring import measure
from qwit_durable.bench.place import Place
from qwit_durable.bench.plan import Line, Plan, Ratio, Scenario, Unmeasured
from qwit_durable.bench.report import Report
from qwit_durable.bench.scenarios import SCENARIOS
from qwit_durable.bench.sizes import QUICK, USUAL
from qwit_durable.bench.stage import Stage
from qwit_durable.cli.main import cli
from qwit_durable.stores import open_store
from tests.servers.fixtures import PostgresTemplate

ROOT = Path(__file__).resolve().parent.parent


def migrate(url: str) -> None:
    store = open_store(url)
    store.migrate()
    store.close()


@pytest.fixture
def store_url(postgres_template: PostgresTemplate) -> str:
    """An empty, migrated store."""
    return postgres_template("benchmarks", migrate)


def as_user(url: str, name: str) -> str:
    """The same database, for another user."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{name}@{parts.netloc.rpartition('@')[2]}").geturl()


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["bench", *arguments])


def test_every_scenario_is_listed_with_what_it_is_about() -> None:
    result = bench("--list", "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout) == {name: found.about for name, found in SCENARIOS.items()}


def test_without_servers_what_needs_none_is_measured_and_the_rest_is_named(tmp_path: Path) -> None:
    chart = tmp_path / "figures.svg"

    result = bench("--quick", "--json", "--chart", str(chart))

    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert set(found["scenarios"]) | set(found["skipped"]) == set(SCENARIOS)
    assert "needs a broker" in found["skipped"]["queued"]
    assert "removed at the end" in result.stderr
    drawn = "".join(ET.fromstring(chart.read_text()).itertext())
    assert all(curve in drawn for one in found["scenarios"].values() for curve in one["curves"])
    assert all(f"{name}: " in drawn for name in found["scenarios"])


@pytest.mark.timeout(400)  # a dozen processes are started; on an idle machine they take some seconds
def test_with_servers_everything_is_measured_and_nothing_is_left(
    store_url: str, redis_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "figures.json"
    mine = Durable(store_url, namespace="mine", registry=REGISTRY)
    with mine.embedded(threads=1):
        mine.start(stamped).result(timeout=60)

    done = bench(
        *("--quick", "--processes", "1", "--threads", "2"),
        *("--store", store_url, "--broker", redis_url, "--json", str(file)),
    )

    assert done.exit_code == 0, done.stderr
    found = json.loads(file.read_text())
    assert set(found["scenarios"]) == set(SCENARIOS)
    assert found["conditions"]["fsync"] in ("on", "off")
    for scenario in found["scenarios"].values():
        assert scenario["rounds"]
        assert all(name in done.stdout for name in (*scenario["rounds"], *scenario["ratios"]))
    assert [run.status for run in mine.runs()] == ["completed"]
    mine.close()
    assert _tables_and_runs(store_url) == (0, 1)
    with Redis.from_url(redis_url) as redis:
        assert redis.keys() == []


def _tables_and_runs(url: str) -> tuple[int, int]:
    with psycopg.connect(url) as connection:
        tables = connection.execute("select count(*) from pg_tables where schemaname = 'public'").fetchone()
        runs = connection.execute("select count(*) from qwit.run").fetchone()
    assert tables is not None
    assert runs is not None
    return tables[0], runs[0]


@pytest.mark.timeout(400)  # the same
def test_rabbitmq_is_measured_too_and_its_queues_are_removed(rabbitmq_url: str) -> None:
    options = ("--quick", "--processes", "1", "--threads", "2", "--only", "queued", "--only", "latency")

    result = bench(*options, "--broker", rabbitmq_url, "--json")

    assert result.exit_code == 0, result.stderr
    assert set(json.loads(result.stdout)["scenarios"]) == {"queued", "latency"}
    with pika.BlockingConnection(pika.URLParameters(rabbitmq_url)) as connection:
        for queue in (QUEUE, PLAIN_QUEUE, f"{QUEUE}.DQ", f"{QUEUE}.XQ"):
            with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="no queue"):
                connection.channel().queue_declare(queue, passive=True)


def test_an_unknown_scenario_is_refused_with_those_that_there_are() -> None:
    result = bench("--only", "speed", "--store", "postgresql://127.0.0.1:1/none")

    assert result.exit_code == 2
    assert result.stderr.startswith("qwit bench: there is no scenario 'speed'; there are: inline, ")


def test_a_scenario_whose_server_is_missing_is_refused() -> None:
    result = bench("--only", "queued")

    assert result.exit_code == 1
    assert "the scenario 'queued' needs a broker" in result.stderr


@pytest.mark.parametrize(
    ("option", "url", "told"),
    [
        ("--store", "postgresql://127.0.0.1:1/none", "can't be used"),
        ("--broker", "http://localhost", "names no broker"),
        ("--broker", "redis://127.0.0.1:1", "can't be reached"),
        ("--broker", "amqp://127.0.0.1:1", "can't be reached"),
    ],
)
def test_a_server_that_is_not_there_is_told_on_one_line(option: str, url: str, told: str) -> None:
    result = bench("--quick", option, url)

    assert result.exit_code == 1
    [line] = result.stderr.splitlines()
    assert told in line


def test_a_store_with_open_runs_is_left_alone(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/mine.db"
    mine = Durable(store, registry=REGISTRY)
    mine.start(stamped)
    mine.close()

    result = bench("--quick", "--store", store)

    assert result.exit_code == 1
    assert "1 runs are open in this store" in result.stderr


def test_a_store_on_which_others_work_is_left_alone(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/mine.db"

    with Durable(store, registry=REGISTRY).embedded(threads=1):
        result = bench("--quick", "--store", store)

    assert result.exit_code == 1
    assert "1 workers live on this store" in result.stderr


def test_files_beside_an_sqlite_store_are_left_alone(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/shop.db"
    migrate(store)
    mine = tmp_path / "bare.db"
    mine.write_text("mine")

    result = bench("--quick", "--store", store, "--only", "lone", "--only", "sqlite")

    assert result.exit_code == 0, result.stderr
    assert mine.read_text() == "mine"
    assert {file.name.partition("-")[0] for file in tmp_path.iterdir()} == {"shop.db", "bare.db"}


def test_a_file_that_is_not_there_is_refused_and_not_made(tmp_path: Path) -> None:
    result = bench("--quick", "--store", f"sqlite:///{tmp_path}/shop.db")

    assert result.exit_code == 1
    assert "no such file" in result.stderr
    assert not [*tmp_path.iterdir()]


def test_a_store_that_is_not_migrated_is_refused(postgres_url: str) -> None:
    result = bench("--quick", "--store", postgres_url)

    assert result.exit_code == 1
    assert "qwit migrate" in result.stderr


@pytest.mark.timeout(400)  # the same
def test_the_repository_has_servers_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    chart = tmp_path / "figures.svg"
    options = (
        *("--quick", "--only", "lone", "--only", "signals", "--only", "lengths"),
        *("--processes", "1", "--threads", "2", "--peers", "dramatiq"),
    )

    done = subprocess.run(
        [sys.executable, "benchmarks/bench.py", *options, "--json", str(file), "--chart", str(chart)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())["scenarios"]
    assert list(found) == ["lone", "signals", "lengths"]
    assert "step of a lone run / plain Dramatiq chain" in found["lone"]["ratios"]
    assert found["signals"]["absent"] == {"plain Dramatiq chain: signals, /s": "no such thing"}
    drawn = [*ET.fromstring(chart.read_text()).itertext()]
    beside = [text for text in drawn if re.fullmatch(r"plain Dramatiq chain [\d.,]+", text)]
    assert len(beside) == len(found["lengths"]["curves"]), "the peer's curve is drawn beside ours, and named"


def test_a_benchmark_that_is_told_to_end_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from qwit_durable.cli.main import cli; cli()"]
    process = subprocess.Popen(
        [*command, "bench", "--only", "idle"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    told = process.stderr.readline()
    made = [*tmp_path.iterdir()]

    process.terminate()
    process.communicate(timeout=60)

    assert "removed at the end" in told
    assert made
    assert process.returncode == 128 + signal.SIGTERM
    assert not [*tmp_path.iterdir()]


def test_a_line_that_cannot_be_measured_any_more_is_left_out_and_the_others_go_on(tmp_path: Path) -> None:
    rounds = iter((1.0, 2.0))

    def fails_late() -> dict[str, float]:
        value = next(rounds, None)
        if value is None:
            raise Unmeasured("too slow")
        return {"theirs, /s": value}

    @contextmanager
    def opened(_stage: Stage) -> Generator[Plan]:
        yield Plan(
            [Line("ours", lambda: {"ours, /s": 4.0}), Line("theirs", fails_late, ("theirs, /s",))],
            [
                Ratio("ours", "ours, /s", at_least=5),
                Ratio("ours again", "ours, /s", at_most=5),
                Ratio("ours / theirs", "ours, /s", "theirs, /s", at_least=1),
            ],
            absent={"nobody's, /s": "no such thing"},
        )

    place = Place(store=f"sqlite:///{tmp_path}/qwit.db", broker="", namespace="mine", folder=str(tmp_path))
    with Stage(place, QUICK, processes=1, threads=1) as stage:
        found = measure(Scenario("race", "who is first", opened), stage, 3, lambda _: None)

    report = Report(conditions={}, rounds=3, measured=[found], skipped={})
    assert found.figures == {"ours, /s": [4.0, 4.0, 4.0]}
    assert [row[1:3] for row in report.figures()][1:] == [
        ("nobody's, /s", "no such thing"),
        ("theirs, /s", "too slow"),
    ]
    assert [(row[1], row[-1]) for row in report.ratios()] == [("ours", "no"), ("ours again", "yes")]
    assert report.verdict == "1 of 2 aims are reached; missed: race: ours"
    assert ET.fromstring(chart(report)).tag.endswith("svg")


@pytest.mark.parametrize("rate", [0.5, 30.0, 20_000.0])
def test_a_peer_gets_as_much_work_as_it_does_in_some_seconds(rate: float) -> None:
    runs, steps = work_for(USUAL, rate, at_once=16)

    assert runs * steps <= max(rate * USUAL.seconds * 1.1, 16 * 5)
    assert runs >= 16


def test_runs_that_have_ended_are_copied_with_all_that_is_kept_of_them(
    store_url: str, tmp_path: Path
) -> None:
    place = Place(store=store_url, broker="", namespace="mine", folder=str(tmp_path))

    with (
        Stage(place, QUICK, processes=1, threads=2) as stage,
        closing(Durable(store_url, namespace="ended", registry=REGISTRY)) as ended,
    ):
        copy_ended(stage, 7)
        copies = [*ended.runs()]
        histories = [list(stage.durable.reader.history(run.run_id)) for run in copies]

    assert [run.status for run in copies] == ["completed"] * 7
    assert [run.id for run in copies] == [*"6543210"]
    assert [[recorded.event.name for recorded in one] for one in histories] == [["qwit-bench.add"]] * 7


def test_who_may_not_make_databases_is_told_what_was_not_measured(store_url: str, tmp_path: Path) -> None:
    name = f"modest_{os.getpid()}"
    with psycopg.connect(store_url, autocommit=True) as connection:
        connection.execute(f"create role {name} login")
        connection.execute(
            f"grant all on schema qwit to {name}; grant all on all tables in schema qwit to {name}"
        )
        store = as_user(store_url, name)
        try:
            result = bench("--quick", "--only", "history", "--store", store, "--json")
        finally:
            connection.execute(f"drop owned by {name}; drop role {name}")

    assert result.exit_code == 0, result.stderr
    history = json.loads(result.stdout)["scenarios"]["history"]
    assert history["medians"] == {}
    assert "permission denied to create database" in history["absent"]["runs beside 50 that have ended, /s"]


class Collected:
    """Gets a signal in the middle of its collection, where what a handler raises is lost."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_that_comes_while_something_is_collected_is_not_lost() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}

    def collect() -> None:
        with ended_by_signals():
            Collected()
            threading.Event().wait(60)

    with pytest.raises(SystemExit) as told:
        collect()
    ignored = [signal.signal(number, handler) for number, handler in before.items()]

    assert told.value.code == 128 + signal.SIGTERM
    assert ignored == [signal.SIG_IGN] * 2


class Broken(Exception):
    """What a signal's handler raises, at any moment."""


def test_a_bare_loop_that_is_broken_off_leaves_no_thread_that_writes() -> None:
    def broken(number: int, frame: object) -> None:
        raise Broken

    class Commits:
        pid = 0
        batches = 0

        def __call__(self, rows: Sequence[Row], /) -> None:
            self.batches += 1
            if self.batches == 20:
                signal.raise_signal(signal.SIGUSR1)

        def close(self) -> None:
            """Nothing is open."""

    before = signal.signal(signal.SIGUSR1, broken)
    commits = Commits()

    with pytest.raises(Broken):
        insert_by_threads(commits, threads=4, rows=100_000, go=lambda: None)

    signal.signal(signal.SIGUSR1, before)
    written = commits.batches
    assert [thread for thread in threading.enumerate() if "insert" in thread.name] == []
    assert commits.batches == written
