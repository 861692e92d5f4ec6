"""What calling a step, a workflow or a verb gives: an inert call, run when a body yields it.

`payment = yield from charge(...)` is typed, because iterating a call yields the call itself and returns the answer.
A call that was built in a body and dropped without being yielded or handed to a verb reports itself to the `Sink` of
that body; a call that is used as if it were its value is refused with the right line. This module knows commands,
not steps.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from qwit_durable.codec import check_size
from qwit_durable.core.building import Sink, current_sink, step_in_progress, where
from qwit_durable.core.commands import CallStep, Command, Site, Yieldable, calls_in
from qwit_durable.errors import EncodingError, MisuseError

__all__ = ["Call", "Uncalled", "call_site", "explained", "refuse_in_step", "refuse_oversized"]

R_co = TypeVar("R_co", covariant=True)

#: Where verbs are to be called.
IN_THE_BODY = "verbs belong in a workflow's body"

#: How the file names of this package begin, and those of what attrs has made for it.
_OURS = (__file__.rsplit("language", 1)[0], "<attrs generated")


def call_site() -> Site:
    """The nearest line outside this package: what a user reads in a message."""
    # The caller of this is ours, so it need not be looked at.
    frame = sys._getframe(2)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - inspect.stack() reads source files, at each call
    while frame.f_code.co_filename.startswith(_OURS) and frame.f_back is not None:
        frame = frame.f_back
    return _site(frame.f_code.co_filename, frame.f_lineno)


_site = lru_cache(maxsize=1_000)(Site)


def refuse_in_step(what: str, remedy: str) -> None:
    """Refuse to build a call where a step's attempt runs: nobody would yield it."""
    running = step_in_progress()
    if running is not None:
        msg = (
            f"{what} was called inside the step {running!r}, at {call_site()}: it would never run\n"
            f"  likely cause: what belongs in the workflow's body was written in a step\n"
            f"  way out: {remedy}"
        )
        raise MisuseError(msg)


class Call(Yieldable, Generic[R_co]):
    """An inert call. It runs when a workflow's body yields it, and may be built long before.

    >>> payment = yield from charge(order.id, order.cents)

    Attributes:
        command: What is asked for, as the core knows it.
    """

    __slots__ = ("_is_reported", "_sink", "_taken", "_text", "_used", "command")

    def __init__(self, command: Command, text: str) -> None:
        self.command = command
        self._text = text
        self._used = False
        self._taken = False
        self._is_reported = False
        here = where()
        self._sink = here if isinstance(here, Sink) else None

    def as_command(self) -> Command:
        """The command; from now on the call counts as used."""
        self._used = self._taken = True
        return self.command

    def __iter__(self) -> Generator[Any, Any, R_co]:
        self._used = True
        answer = yield self
        if answer is None and not self._taken and self._sink is not None:
            raise TypeError(self._misused("was iterated", "for value in {}", "for value in (yield from {})"))
        return answer  # type: ignore[no-any-return]

    def __bool__(self) -> NoReturn:
        raise TypeError(self._misused("was used as a condition", "if {}:", "if (yield from {}):"))

    def __repr__(self) -> str:
        return f"<call of {self._text}>"

    if not TYPE_CHECKING:  # a type checker refuses these by itself

        def __await__(self) -> NoReturn:
            raise TypeError(
                self._misused(
                    "was awaited, but workflows are generators", "await {}", "value = yield from {}"
                )
            )

        def __getattr__(self, name: str) -> NoReturn:
            if name.startswith("_"):
                raise AttributeError(name)
            what = f"was asked for its value's attribute {name!r}"
            raise AttributeError(self._misused(what, "{}." + name, "(yield from {})." + name))

        __hash__ = object.__hash__

    def misused_as_argument(self) -> str:
        """Tell that this call was passed on as if it were its value."""
        return self._misused("was passed as an argument", "other({})", "other((yield from {}))")

    def _misused(self, how: str, wrong: str, right: str) -> str:
        quoted = self._text.partition("'")[2].rstrip("'")
        name = f"{quoted or self._text}(...)"
        self._used = True
        if self._sink is not None and not self._is_reported:
            self._is_reported = True
            self._sink.report(self._text, self.command.site)
        outside = self._sink is None and isinstance(self.command, CallStep)
        plain = (
            f"\n  outside a body: {name.replace('(', '.fn(', 1)} runs the plain function" if outside else ""
        )
        return (
            f"the call of {self._text}, built at {self.command.site}, {how}\n"
            f"  likely cause: a forgotten `yield from`: a call has no value until a body yields it\n"
            f"  wrong:  {wrong.format(name)}\n"
            f"  right:  {right.format(name)}{plain}"
        )

    def __del__(self) -> None:
        try:
            if self._used or self._sink is None:
                return
            here = current_sink()
            if here is None or not here.inert:
                self._sink.report(self._text, self.command.site)
        except Exception:  # noqa: BLE001, S110 - collected at any moment, even while Python shuts down
            pass


class Uncalled:
    """What gives a call when it is called, and is refused where its call was meant."""

    name: str

    if not TYPE_CHECKING:  # a type checker refuses it by itself

        def __iter__(self) -> NoReturn:
            msg = (
                f"{call_site()} yields from {self!r} itself, which is no command\n"
                f"  likely cause: it is not called\n"
                f"  wrong:  yield from {self.name}\n"
                f"  right:  value = yield from {self.name}(...)"
            )
            raise TypeError(msg)


def _refusing(wrong: str) -> Callable[..., NoReturn]:
    """A special method that refuses to use a call as its value."""

    def refuse(self: Call[Any], *_: object) -> NoReturn:
        right = wrong.replace("{}", "(yield from {})")
        raise TypeError(self._misused("was used as if it were its value", wrong, right))  # pyright: ignore[reportPrivateUsage]

    return refuse


#: What Python calls where a value is computed with, compared, looked into or written out: a forgotten `yield from`.
_USES_OF_A_VALUE = {
    **dict.fromkeys(("__add__", "__radd__"), "{} + ..."),
    **dict.fromkeys(("__sub__", "__rsub__"), "{} - ..."),
    **dict.fromkeys(("__mul__", "__rmul__"), "{} * ..."),
    **dict.fromkeys(("__truediv__", "__rtruediv__", "__floordiv__", "__rfloordiv__"), "{} / ..."),
    **dict.fromkeys(("__mod__", "__rmod__"), "{} % ..."),
    **dict.fromkeys(("__neg__", "__pos__", "__abs__"), "-{}"),
    **dict.fromkeys(("__eq__", "__ne__"), "{} == ..."),
    **dict.fromkeys(("__lt__", "__le__", "__gt__", "__ge__"), "{} < ..."),
    **dict.fromkeys(("__getitem__", "__contains__"), "{}[...]"),
    "__len__": "len({})",
    "__call__": "{}()",
    **dict.fromkeys(("__int__", "__index__"), "int({})"),
    "__float__": "float({})",
    **dict.fromkeys(("__str__", "__format__"), "str({})"),
}
for _name, _wrong in _USES_OF_A_VALUE.items():
    setattr(Call, _name, _refusing(_wrong))


def refuse_oversized(data: bytes, what: str) -> None:
    """Refuse arguments that are larger than the body they are built in may hand over. Raises EncodingError."""
    sink = current_sink()
    if sink is not None and sink.limit_bytes is not None and len(data) > sink.limit_bytes:
        check_size(data, what, sink.limit_bytes)


def explained(error: EncodingError, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Exception:
    """The better message where what can't be stored is a call that was never yielded."""
    for value in (*args, *kwargs.values()):
        for call in calls_in(value):
            if isinstance(call, Call):
                return TypeError(call.misused_as_argument())
    return error
