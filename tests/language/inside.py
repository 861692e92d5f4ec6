"""Stands for an attempt, as code that runs in it sees it."""

from __future__ import annotations

from typing import Any

import attrs

__all__ = ["AnAttempt"]


@attrs.frozen
class AnAttempt:
    step: str
    context: Any = None
    starter: Any = None
