"""Facts: what was asked for, and what happened. They are made by the dozen at each step, and never changed.

Both type checkers refuse whoever assigns to a field of one. To refuse it at run time as well costs 75 ns a field when a
fact is made, a tenth of all that a step costs; so that is done in Python's development mode (`python -X dev`) alone,
as other checks are that are too expensive for every day. Records for users are frozen always.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import attrs

__all__ = ["fact"]

if TYPE_CHECKING or sys.flags.dev_mode:
    from attrs import frozen as fact
else:

    def fact(cls: type | None = None, /, *, eq: bool = True, **options: Any) -> Any:
        """`attrs.frozen`, on trust."""

        def define(cls: type) -> type:
            return attrs.define(eq=eq, unsafe_hash=eq or None, on_setattr=attrs.setters.NO_OP, **options)(cls)

        return define if cls is None else define(cls)
