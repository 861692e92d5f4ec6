"""The client's side: handles, starting, listing, explaining, schedules."""

from qwit_durable.client.explaining import Explanation, Wait, WaitKind
from qwit_durable.client.handle import Handle
from qwit_durable.client.history import Entry, History
from qwit_durable.client.published import Published
from qwit_durable.client.runs import Run
from qwit_durable.client.schedule import Schedule
from qwit_durable.client.scheduling import ScheduleHandle

__all__ = [
    "Entry",
    "Explanation",
    "Handle",
    "History",
    "Published",
    "Run",
    "Schedule",
    "ScheduleHandle",
    "Wait",
    "WaitKind",
]
