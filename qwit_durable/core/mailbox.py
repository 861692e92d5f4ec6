"""The signals of a run: kept in the order in which they came until a wait of their name takes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from qwit_durable.core.events import SignalReceived

__all__ = ["Mailbox"]


class Mailbox:
    """Unread signals by name, and the positions of the waits for them, the longest first."""

    def __init__(self) -> None:
        self._unread: dict[str, deque[tuple[int, SignalReceived]]] = {}
        self._waits: dict[str, deque[str]] = {}
        self._came = 0

    def put(self, signal: SignalReceived) -> str | None:
        """Take in a signal; the position of the wait that it answers, or None if it is kept."""
        waits = self._waits.get(signal.name)
        if waits:
            return waits.popleft()
        self._came += 1
        self._unread.setdefault(signal.name, deque()).append((self._came, signal))
        return None

    def take(self, name: str) -> bytes | None:
        """The value of the oldest unread signal of a name, if there is one."""
        unread = self._unread.get(name)
        return unread.popleft()[1].value if unread else None

    def wait(self, name: str, position: str) -> None:
        """Wait for the next signal of a name."""
        self._waits.setdefault(name, deque()).append(position)

    def forget(self, name: str, position: str) -> None:
        """A wait has ended otherwise than by its signal."""
        self._waits[name].remove(position)

    def forget_all(self, is_over: Callable[[str], bool] = lambda _: True) -> None:
        """Some waits are over, or all."""
        for name, waits in self._waits.items():
            self._waits[name] = deque(position for position in waits if not is_over(position))

    def bring(self, signals: Iterable[SignalReceived]) -> None:
        """Keep signals that came before a restart."""
        for signal in signals:
            self.put(signal)

    @property
    def unread(self) -> tuple[SignalReceived, ...]:
        """What nobody has taken, in the order in which it came."""
        found = sorted((one for kept in self._unread.values() for one in kept), key=lambda one: one[0])
        return tuple(signal for _, signal in found)
