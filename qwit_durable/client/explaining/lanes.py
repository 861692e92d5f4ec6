"""Where a run stands in its lane, in words: who holds it, since when, and what can be done about that."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import attrs

from qwit_durable.client.plain import command_line
from qwit_durable.client.when import When
from qwit_durable.core import Status
from qwit_durable.stores.protocol import Reader
from qwit_durable.stores.rows import LiveRow, RunRow, RunView

__all__ = ["Lane"]

#: What a person may ask of a head that does not go on by itself, and what for.
_VERBS = {
    Status.STUCK: (("retry", "mend it, then let it go on"), ("terminate", "give it up where it stands")),
    Status.PAUSED: (("resume", "let it go on"), ("terminate", "give it up where it stands")),
    Status.RUNNING: (("cancel", "stop it and undo what it did"),),
}


@attrs.frozen(kw_only=True)
class Lane:
    """A lane as one run in it sees it.

    Attributes:
        head: The run that holds it.
        since: Since when.
        waiting: How many wait behind the head.
        before: How many stand before this run, the head included; None if it does not wait.
    """

    name: str
    head: RunView
    since: datetime
    waiting: int
    before: int | None

    @classmethod
    def read(cls, reader: Reader, run: RunRow) -> Lane | None:
        """Read the lane of a run; None where it is in none, or nobody is in it yet."""
        row = None if run.lane is None else reader.lane(run.namespace, run.lane)
        head = None if row is None else reader.view(row.head)
        if row is None or head is None:
            return None
        return cls(
            name=row.lane, head=head, since=row.since, waiting=row.waiting, before=reader.before(run.id)
        )

    def told_to(self, run: RunRow, live: LiveRow, when: When) -> Iterator[str]:
        """What the explanation of a run says about its lane, beside what it waits for."""
        if run.id == self.head.run.id:
            waiting = "nobody waits behind it" if not self.waiting else f"{_runs(self.waiting)} for its end"
            yield f"it holds lane {self.name!r} {when.since(self.since)}; {waiting}"
        elif self.before is not None and live.status is Status.PAUSED:
            yield f"it keeps its place in lane {self.name!r}, {self.before:,} before it"

    def told_to_waiting(self, when: When) -> str:
        """What the explanation of a run that waits says."""
        run, live = self.head.run, self.head.live
        unchanged = f", unchanged {when.since(live.updated_at)}" if live is not None else ""
        return (
            f"waits in lane {self.name!r} behind run {run.key} of workflow {run.workflow!r}, "
            f"{self.before:,} before it\n"
            f"that one holds the lane {when.since(self.since)} and is {self.head.status}{unchanged}"
        )

    def ways_out(self) -> Iterator[str]:
        """What can be done about the head."""
        key = self.head.run.key
        yield f"see why the head does not end: {command_line('explain', key)}"
        for verb, why in _VERBS.get(self.head.status, ()):
            yield f"{why}: {command_line(verb, key)}"


def _runs(count: int) -> str:
    return f"{count:,} run{'s' if count > 1 else ''} wait{'' if count > 1 else 's'}"
