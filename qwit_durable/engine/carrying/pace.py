"""How quick steps have proven in this process, by their names."""

from __future__ import annotations

__all__ = ["Pace"]

#: What takes longer is slow: several times what the engine needs for a step.
_QUICK_SECONDS = 0.0005
#: Being slow once weighs as much as being quick three times, and twice in a row tells: the system may have made a
#: thread wait that was in the middle of a quick one. An unknown name has to prove itself.
_WEIGHT, _SLOW, _UNKNOWN, _SLOWEST = 3, 4, 6, 12
#: So many quick steps in a row, and all is brisk.
_BRISK_STEPS = 100


class Pace:
    """What is known of steps. Threads may use it at once: what they overwrite of each other's is a guess anyway."""

    def __init__(self) -> None:
        self._slowness: dict[str, int] = {}
        self._in_a_row = 0

    @property
    def is_brisk(self) -> bool:
        """Whether nothing slow was made for a while."""
        return self._in_a_row >= _BRISK_STEPS

    def seems_quick(self, name: str) -> bool:
        """Whether a step is likely to be quick."""
        return self._slowness.get(name, _UNKNOWN) <= _SLOW

    def is_quick(self, name: str) -> bool:
        """The same of a step that is made now."""
        is_quick = self.seems_quick(name)
        if not is_quick:
            self._in_a_row = 0
        return is_quick

    def took(self, name: str, seconds: float) -> None:
        """Take down how long a step took."""
        slowness = self._slowness.get(name, _UNKNOWN)
        if seconds > _QUICK_SECONDS:
            self._slowness[name] = min(slowness + _WEIGHT, _SLOWEST)
            return
        self._in_a_row += 1
        if slowness:
            self._slowness[name] = slowness - 1

    def holds_up(self, name: str) -> None:
        """Take down that a step holds up others."""
        self._slowness[name] = _SLOWEST
        self._in_a_row = 0
