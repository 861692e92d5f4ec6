"""What `Durable` gives for schedules: making, finding and listing them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from qwit_durable.client.access import Access
from qwit_durable.client.schedule import Schedule
from qwit_durable.client.scheduling import ScheduleHandle, find_schedule, list_schedules, put_definition
from qwit_durable.codec import check_size, unfit_as_name
from qwit_durable.errors import DefinitionError, describe
from qwit_durable.language.options import check_duration
from qwit_durable.language.timetable import Timetable
from qwit_durable.language.workflow import BoundWorkflow, WorkflowDefinition
from qwit_durable.stores.schedules import CatchUp, Overlap, ScheduleRow

__all__ = ["Schedules"]

_MAX_ID_CHARS = 200
_TAKEN = ("schedule", "due_at")


class Schedules:
    """Schedules of one namespace."""

    def schedule(
        self: Access,
        schedule_id: str,
        workflow: WorkflowDefinition[..., Any] | BoundWorkflow[..., Any],
        /,
        *args: Any,
        cron: str | Sequence[str] | None = None,
        every: timedelta | None = None,
        timezone: str = "UTC",
        anchor: datetime | None = None,
        begins_at: datetime | None = None,
        ends_at: datetime | None = None,
        overlap: Overlap = "skip",
        catch_up: CatchUp = "latest",
        catch_up_window: timedelta | None = None,
        attributes: Mapping[str, str | int | float | bool] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        paused: bool = False,
    ) -> ScheduleHandle:
        """Let a workflow be started at certain times, from now on and for ever.

        The definition is stored before this returns, and any worker of the store fires it, each due time once. Say it
        at each start of the application: a definition that is the same changes nothing, another one is taken over and
        what the schedule has done stays.

        Args:
            schedule_id: Its id in the namespace, 1 to 200 characters. The run that is due at a time has the id
                `<schedule id>@<time in UTC>`.
            workflow: What is started; with `workflow.options(lane=..., deadline=..., attributes=...)` each run has
                these.
            *args: The workflow's arguments by place.
            cron: When, as one cron expression or several: minute, hour, day of month, month, day of week, or six
                fields that begin with seconds.
            every: An interval instead, at least a second, whatever clocks do. Counted from `anchor`.
            timezone: In which `cron` is read. A time that is skipped when clocks go forward is due after the gap; one
                that comes twice is due once. A wildcard in hour or minute follows the clock instead.
            anchor: A moment at which the interval is due; by default midnight in UTC.
            begins_at: Nothing is due before.
            ends_at: Nothing is due after.
            overlap: What happens when it is due and the run it started last is still open: `skip` this time; `allow`
                both; `queue` the new run in a lane behind the others; `cancel` the last run, and begin when that is
                undone.
            catch_up: What happens to due times that nobody fired within a minute, because no worker was there: start
                a run for the `latest` alone, for `all`, or for `none`.
            catch_up_window: What was missed longer ago than this is given up in any case.
            attributes: Facts by which its runs can be found, beside `schedule` and `due_at`, which each has.
            kwargs: The workflow's arguments by name.
            paused: Whether a new one waits for `resume()`. One that exists stays as it is.

        Returns:
            Its handle.

        Raises:
            DefinitionError: The times or policies make no sense; the message shows the right form.
            TypeError: The arguments don't fit the workflow's signature.
            EncodingError: An argument can't be stored.
            StoreUnavailable: The store can't be reached.

        >>> durable = Durable("memory://", clock=ManualClock(NOON))
        >>> nightly = durable.schedule("nightly", report, "sales", cron="0 3 * * *", timezone="Europe/Zurich")
        >>> nightly.next_times(1)
        (datetime.datetime(2026, 1, 2, 2, 0, tzinfo=datetime.timezone.utc),)
        """
        where = f"schedule {schedule_id!r}"
        _check_workflow(workflow, where)
        definition, lane, deadline, common = _parts(workflow, where)
        facts = {**common, **(attributes or {})}
        _check(schedule_id, overlap, catch_up, catch_up_window, facts)
        given = {} if anchor is None else {"anchor": anchor}
        timetable = Timetable(
            cron=cron, every=every, timezone=timezone, begins_at=begins_at, ends_at=ends_at, **given
        )
        data = definition.encode_args(args, dict(kwargs or {}))
        check_size(data, f"the arguments of {where}", self.limit_bytes)
        now = self.clock.now()
        row = ScheduleRow(
            namespace=self.namespace,
            id=schedule_id,
            workflow=definition.name,
            version=definition.version,
            queue=definition.queue,
            args=data,
            timetable=timetable.to_json(),
            overlap=overlap,
            catch_up=catch_up,
            window=catch_up_window,
            lane=lane,
            deadline=deadline or definition.deadline,
            attributes=facts,
            created_at=now,
            changed_at=now,
            next_at=None,
            paused=paused,
        )
        put_definition(self, row)
        return ScheduleHandle(self, schedule_id, self.observers)

    def get_schedule(self: Access, schedule_id: str) -> ScheduleHandle:
        """The handle of a schedule.

        Raises:
            ScheduleNotFound: There is none of that id in this namespace.

        >>> durable = Durable("memory://")
        >>> made = durable.schedule("nightly", report, "sales", cron="0 3 * * *")
        >>> durable.get_schedule("nightly").pause("the books are closed")
        """
        return find_schedule(self, schedule_id, self.observers)

    def schedules(self: Access) -> Iterator[Schedule]:
        """List schedules in the order of their ids.

        >>> durable = Durable("memory://")
        >>> made = durable.schedule("nightly", report, "sales", cron="0 3 * * *")
        >>> [(schedule.id, schedule.due) for schedule in durable.schedules()]
        [('nightly', '0 3 * * * UTC')]
        """
        return list_schedules(self)


def _check(
    schedule_id: object,
    overlap: object,
    catch_up: object,
    window: object,
    attributes: Mapping[str, object],
) -> None:
    if not isinstance(schedule_id, str) or not 0 < len(schedule_id) <= _MAX_ID_CHARS:
        msg = f"schedule: the id is a text of 1 to {_MAX_ID_CHARS} characters, got {describe(schedule_id)}"
        raise DefinitionError(msg)
    if (why := unfit_as_name(schedule_id)) is not None:
        msg = f"schedule: the id {why}"
        raise DefinitionError(msg)
    where = f"schedule {schedule_id!r}"
    for name, value, known in (
        ("overlap", overlap, ("skip", "allow", "queue", "cancel")),
        ("catch_up", catch_up, ("latest", "all", "none")),
    ):
        if value not in known:
            msg = f"{where}: {name} is one of {', '.join(map(repr, known))}, got {describe(value)}"
            raise DefinitionError(msg)
    if window is not None:
        try:
            check_duration(window, "catch_up_window", where)
        except (TypeError, ValueError) as error:
            raise DefinitionError(str(error)) from None
    for name in _TAKEN:
        if name in attributes:
            msg = f"{where}: the attribute {name!r} is the schedule's own; choose another name"
            raise DefinitionError(msg)


def _check_workflow(workflow: object, where: str) -> None:
    if not isinstance(workflow, WorkflowDefinition | BoundWorkflow):
        msg = (
            f"{where}: the second argument is a workflow, got {describe(workflow)}\n"
            f'  right:  durable.schedule("nightly", report, "sales", cron="0 3 * * *")'
        )
        raise DefinitionError(msg)


def _parts(
    workflow: WorkflowDefinition[..., Any] | BoundWorkflow[..., Any], where: str
) -> tuple[
    WorkflowDefinition[..., Any], str | None, timedelta | None, Mapping[str, str | int | float | bool]
]:
    """The workflow, and the lane, deadline and attributes that its `options` name."""
    if isinstance(workflow, WorkflowDefinition):
        return workflow, None, None, {}
    options = workflow.start_options
    if options.id is not None or options.delay is not None or options.at is not None:
        msg = (
            f"{where}: the workflow's options have an id, a delay or a time\n"
            f"  likely cause: options of one start; the schedule gives each run its id and its time\n"
            f"  right:  options(lane=..., deadline=..., attributes=...)"
        )
        raise DefinitionError(msg)
    return workflow.definition, options.lane, options.deadline, options.attributes
