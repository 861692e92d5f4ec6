"""Errors as data: what is recorded of an exception, and what can be asked of the record."""

from __future__ import annotations

import attrs
import pytest

from qwit_durable import errors
from qwit_durable.errors import (
    AttemptLost,
    AttemptTimedOut,
    ChildFailed,
    DurableError,
    Failure,
    GiveUp,
    StepFailed,
    WorkflowCancelled,
    WorkflowFailed,
    class_name,
)


class CardDeclined(Exception):
    pass


class Expired(CardDeclined):
    def __init__(self, card: str, month: int) -> None:
        self.card = card
        super().__init__(card, month)

    def __str__(self) -> str:
        return f"card {self.card} has expired"


def raised(error: BaseException) -> Failure:
    """The failure of an error that was really raised."""
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 - any of them
        return Failure.of(caught)


# -- what is recorded ----------------------------------------------------------------------------------------------


def test_failure_has_the_type_and_the_text():
    """The class's bare name and `str()` of the exception are recorded."""
    failure = raised(Expired("4711", 5))

    assert failure.type == "Expired"
    assert failure.message == "card 4711 has expired"
    assert str(failure) == "Expired: card 4711 has expired"


def test_failure_without_text_is_its_type():
    """An exception without arguments reads as its type alone."""
    failure = raised(ValueError())

    assert str(failure) == "ValueError"


def test_failure_has_the_traceback_of_where_it_was_raised():
    """The formatted traceback names this file, and ends with the error."""
    failure = raised(ValueError("broken"))

    assert f'File "{__file__}"' in failure.traceback
    assert failure.traceback.endswith("ValueError: broken\n")


def test_long_traceback_keeps_its_end():
    """Of a traceback that is too long the last 8,000 characters are kept: where it happened."""

    def deep(n):
        if n == 0:
            raise ValueError("x" * 500)
        return deep(n - 1) if n % 2 else deeper(n - 1)

    def deeper(n):
        return deep(n)

    try:
        deep(300)
    except ValueError as error:
        failure = Failure.of(error)

    assert len(failure.traceback) == 8_000
    assert failure.traceback.endswith("x" * 500 + "\n")


def test_traceback_is_no_part_of_equality():
    """Two records of the same error at different lines are equal, so that decisions are."""
    one, other = raised(ValueError("broken")), Failure.of(ValueError("broken"))

    assert one.traceback != other.traceback
    assert one == other


def test_lineage_names_the_class_and_its_bases():
    """Recorded names are module and qualified name, bare for builtins, the most special first."""
    failure = raised(Expired("1", 2))

    assert failure.lineage == (
        f"{__name__}.Expired",
        f"{__name__}.CardDeclined",
        "Exception",
        "BaseException",
    )


def test_class_inside_a_function_has_its_qualified_name():
    """A local class is recorded by where it is defined."""

    class Local(Exception):
        pass

    assert (
        class_name(Local) == f"{__name__}.test_class_inside_a_function_has_its_qualified_name.<locals>.Local"
    )


def test_error_that_can_not_be_shown_is_recorded_all_the_same():
    """An exception whose own `str()` raises must not take the attempt's record down with it."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    failure = raised(Mute())

    assert failure.type == "Mute"
    assert failure.message == "(its str() raised RuntimeError)"
    assert failure.is_a(Mute)


def test_group_of_errors_is_recorded():
    """An exception group is one error, with its parts in the traceback."""
    failure = raised(ExceptionGroup("two", [ValueError("one"), OSError("other")]))

    assert failure.message == "two (2 sub-exceptions)"
    assert "ValueError: one" in failure.traceback
    assert failure.is_a(ExceptionGroup)


# -- what can be asked ---------------------------------------------------------------------------------------------


def test_is_a_goes_by_the_recorded_bases():
    """A failure is what its class and all its bases were, and nothing else."""
    failure = raised(Expired("1", 2))

    found = {cls.__name__: failure.is_a(cls) for cls in (Expired, CardDeclined, Exception, OSError, GiveUp)}

    assert found == {
        "Expired": True,
        "CardDeclined": True,
        "Exception": True,
        "OSError": False,
        "GiveUp": False,
    }


def test_is_a_asks_by_name():
    """No class is loaded: a record of a class that is gone can be asked about, also by one of its name."""
    gone = Failure(type="Gone", message="", lineage=("somewhere.Gone", "OSError", "Exception"))

    assert gone.is_a(OSError)
    assert not gone.is_a(ValueError)


def test_same_bare_name_elsewhere_is_another_class():
    """Two classes of one bare name are told apart by their modules."""
    other = type("CardDeclined", (Exception,), {"__module__": "elsewhere"})

    assert not raised(other()).is_a(CardDeclined)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(StepFailed, "StepFailed"), (ChildFailed, "ChildFailed")],
)
def test_what_wraps_a_failure_keeps_it_as_its_cause(error, kind):
    """A step's failure inside a `StepFailed` is its cause, and what it was can be asked of the whole."""
    inner = raised(Expired("1", 2))

    failure = raised(error("charge", inner))

    assert failure.type == kind
    assert failure.cause == inner
    assert failure.root == inner
    assert failure.is_a(CardDeclined)
    assert failure.is_a(error)


def test_root_is_the_innermost_cause():
    """Through any number of sub-workflows, the root is what first went wrong."""
    inner = raised(ValueError("first"))

    failure = raised(ChildFailed("outer", raised(ChildFailed("inner", raised(StepFailed("step", inner))))))

    assert failure.root == inner
    assert inner.root is inner


def test_attribute_named_error_is_no_cause():
    """Only this library's wrappers have causes; a user's exception may have an attribute of any name."""

    class Odd(Exception):
        error = "not a failure"

    assert raised(Odd()).cause is None


@pytest.mark.parametrize("kind", [AttemptLost, AttemptTimedOut])
def test_lost_and_late_attempts_have_an_unknown_outcome(kind):
    """Where the effect may have happened all the same, the failure says so."""
    assert raised(kind("x")).outcome_unknown
    assert StepFailed("charge", raised(kind("x"))).outcome_unknown


def test_other_errors_have_a_known_outcome():
    """An exception that a step raised tells that it failed, unless the caller knows better."""
    assert not raised(ValueError()).outcome_unknown
    assert Failure.of(ValueError(), outcome_unknown=True).outcome_unknown


def test_unknown_outcome_goes_up_the_tree():
    """A run that failed because of an unknown outcome has one itself."""
    failure = raised(StepFailed("charge", raised(AttemptLost("died"))))

    assert failure.outcome_unknown


def test_failure_is_frozen():
    """A recorded fact does not change."""
    failure = raised(ValueError())

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        failure.message = "other"


# -- the texts of errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            StepFailed("charge", Failure(type="CardDeclined", message="no")),
            "step 'charge' failed after 1 attempt: CardDeclined: no",
        ),
        (
            StepFailed("charge", Failure(type="OSError", message="", outcome_unknown=True), 3),
            "step 'charge' failed after 3 attempts: OSError (it may have had its effect all the same)",
        ),
        (ChildFailed("ship", Failure(type="X", message="y")), "sub-workflow 'ship' failed: X: y"),
        (
            WorkflowFailed("7", "sell", Failure(type="X", message="y"), ("refund", "release")),
            "run 7 of workflow 'sell' failed: X: y; undone: refund, release",
        ),
        (WorkflowCancelled("7", "sell", None), "run 7 of workflow 'sell' was cancelled"),
    ],
)
def test_error_reads_as_a_sentence(error, text):
    """What users see says what happened to which run or step, and why."""
    assert str(error) == text


def test_every_error_is_in_the_tree():
    """All public errors derive from `DurableError`; the failure is data."""
    found = [getattr(errors, name) for name in errors.__all__]

    stray = [cls for cls in found if isinstance(cls, type) and not issubclass(cls, DurableError)]

    assert stray == [Failure]
