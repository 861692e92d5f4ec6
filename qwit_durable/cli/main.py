"""`qwit`: the command line. Exit code 0 only when what was asked was done; a user's mistake is told on one line."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version
from io import TextIOWrapper
from typing import Any

import click

from qwit_durable.cli.benchmarking import bench
from qwit_durable.cli.completing import complete, fail
from qwit_durable.cli.looking import explain, history, ls, show
from qwit_durable.cli.operating import cancel, pause, resume, retry, rollback, signal, skip, terminate
from qwit_durable.cli.output import one_line
from qwit_durable.cli.replaying import replay
from qwit_durable.cli.schedules import schedule
from qwit_durable.cli.starting import run, start, watch
from qwit_durable.cli.upkeep import demo, doctor, migrate, prune
from qwit_durable.errors import DurableError

__all__ = ["cli", "main"]

_FAILED, _INTERRUPTED = 1, 130


class _Group(click.Group):
    """A group of commands that tells every error on one line of stderr, or with `--json` as one JSON object."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002 - click's signature
        windows_expand_args: bool = True,  # noqa: FBT001, FBT002 - the same
        **extra: Any,
    ) -> Any:
        given = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(
                args,
                prog_name,
                complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                **extra,
            )
        except click.UsageError as error:
            path = error.ctx.command_path if error.ctx is not None else "qwit"
            _tell(given, path, "UsageError", f"{error.format_message()} (see {path} --help)")
            code = error.exit_code
        except click.ClickException as error:
            _tell(given, "qwit", type(error).__name__, error.format_message())
            code = error.exit_code
        except click.Abort:
            _tell(given, "qwit", "Interrupted", "interrupted")
            code = _INTERRUPTED
        except DurableError as error:
            _tell(given, "qwit", type(error).__name__, str(error))
            code = _FAILED
        if not standalone_mode:
            return code
        sys.exit(code if isinstance(code, int) else 0)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """In the order in which they were added: what is used most comes first."""
        return list(self.commands)


def _tell(given: Sequence[str], who: str, kind: str, message: str) -> None:
    text = one_line(message)
    shown = (
        json.dumps({"error": {"type": kind, "message": text}}, ensure_ascii=False)
        if "--json" in given
        else f"{who}: {text}"
    )
    click.echo(shown, err=True)


@click.group(cls=_Group, name="qwit", invoke_without_command=True)
@click.version_option(version("qwit-durable"), prog_name="qwit")
@click.pass_context
def cli(context: click.Context) -> None:
    """Durable workflows: run them, look at them, act on them."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _command in (
    *(run, start, ls, show, watch, explain, history, replay),
    *(signal, complete, fail, cancel, pause, resume, retry, skip, rollback, terminate),
    *(schedule, prune, migrate, doctor, bench, demo),
):
    cli.add_command(_command)


def main() -> None:
    """The console script `qwit`, and `python -m qwit_durable`."""
    # What the library says to a log is no part of a command's output; `run` shows it between its lines.
    logging.getLogger("qwit_durable").addHandler(logging.NullHandler())
    # An error's text may be of half a character, or of one that this terminal has not: no reason to show nothing.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    cli.main(prog_name="qwit")
