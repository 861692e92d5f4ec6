"""The command line as people have it: processes, a file, a module in the current directory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qwit_durable import Durable, Workflow, WorkflowFailed, workflow


@workflow
def reads_an_odd_file() -> Workflow[None]:
    yield from ()
    message = f"can't read {os.fsdecode(b'caf' + bytes([0xE9]))}.pdf"
    raise OSError(message)


MODULE = """
import threading
from pathlib import Path

from qwit_durable import Workflow, step, wait_signal, workflow


@step
def mark(number: int) -> int:
    with Path("marks").open("a") as file:
        file.write(f"{number}\\n")
    if number == 1 and not Path("go").exists():
        print("in the middle", flush=True)
        threading.Event().wait()
    return number


@workflow
def slow() -> Workflow[int]:
    total = 0
    for number in range(3):
        total += yield from mark(number)
    return total


@workflow
def approval(name: str) -> Workflow[str]:
    answer = yield from wait_signal("approved", str)
    return f"{name}: {answer}"
"""
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("QWIT")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a module of workflows."""
    (tmp_path / "flows.py").write_text(MODULE, encoding="utf-8")
    return tmp_path


def qwit(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "qwit_durable", *args]
    return subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False
    )


@contextmanager
def started(folder: Path, *args: str) -> Iterator[subprocess.Popen[str]]:
    """A command under way; killed in the end, whatever happens."""
    command = [sys.executable, "-m", "qwit_durable", *args]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background has interrupts ignored, and a child inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - that takes no lock
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_a_run_goes_on_when_another_process_sends_its_signal(folder: Path) -> None:
    with started(folder, "run", "flows:approval", '["ann"]', "--id", "a-1") as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "signal approved scheduled" in line)

        sent = qwit(folder, "signal", "a-1", "approved", '"yes"')
        out, _ = process.communicate(timeout=30)

    assert (sent.returncode, sent.stdout) == (0, "a-1: signal; it is running\n")
    assert (process.returncode, out) == (0, '"ann: yes"\n')


def test_a_run_that_was_killed_goes_on_when_it_is_run_again(folder: Path) -> None:
    with started(folder, "run", "flows:slow", "--id", "s-1") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in the middle\n"
        process.kill()
        process.wait()
    waits = json.loads(qwit(folder, "explain", "s-1", "--json").stdout)["waits"]
    (folder / "go").touch()

    again = qwit(folder, "run", "flows:slow", "--id", "s-1", "--json")
    found = json.loads(again.stdout)

    assert (waits[0]["kind"], waits[0]["worker"].rpartition(":")[2]) == ("takeover", str(process.pid))
    assert (again.returncode, found["status"], found["value"]) == (0, "completed", 3)
    assert (folder / "marks").read_text(encoding="utf-8").split() == ["0", "1", "1", "2"]


def test_an_interrupted_run_says_that_it_goes_on(folder: Path) -> None:
    with started(folder, "run", "flows:approval", '["ann"]', "--id", "a-1") as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "signal approved scheduled" in line)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)

    assert process.returncode == 130
    assert err.splitlines()[-1].startswith("interrupted: run a-1 stays in the store")


def test_a_store_that_is_not_there_is_not_made_by_looking(folder: Path) -> None:
    result = qwit(folder, "ls")

    assert result.returncode == 1
    assert result.stderr.startswith("qwit: there is no store sqlite:///qwit.db: no such file as qwit.db")
    assert len(result.stderr.splitlines()) == 1
    assert [path.name for path in folder.iterdir()] == ["flows.py"]


def test_a_reader_that_goes_away_is_no_error(folder: Path) -> None:
    for number in range(3):
        qwit(folder, "start", "flows:approval", '["x"]', "--id", f"a-{number}")

    result = subprocess.run(
        f"{sys.executable} -m qwit_durable ls --json | true",
        shell=True,
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert "Traceback" not in result.stderr


def test_the_console_script_is_the_same(folder: Path) -> None:
    script = Path(sys.executable).with_name("qwit")
    if not script.exists():
        pytest.skip("the package is not installed")

    result = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=60, check=False)

    assert result.stdout == qwit(folder, "--version").stdout


def test_a_text_that_no_terminal_can_show_is_shown_all_the_same(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/odd.db"
    with Durable(url).embedded(threads=1) as durable, pytest.raises(WorkflowFailed):
        durable.start(reads_an_odd_file).result(timeout=10)

    command = [sys.executable, "-m", "qwit_durable", "ls", "--store", url]
    strict = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    listed = subprocess.run(command, env=strict, capture_output=True, text=True, check=True)

    assert r"can't read caf\udce9.pdf" in listed.stdout
