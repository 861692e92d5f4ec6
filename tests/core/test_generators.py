"""The traps of generators: closing them, `yield` in `finally`, commands that are dropped, and what is no command."""

from __future__ import annotations

import gc
import logging
from contextlib import suppress

import pytest

from qwit_durable.core import (
    Advance,
    CancelRequested,
    Finish,
    Halt,
    Interpreter,
    Misuse,
    Program,
    Status,
    decide,
)
from qwit_durable.errors import DefinitionError, MisuseError, RunStuck, StepFailed, WorkflowFailed
from qwit_durable.language.groups import gather
from qwit_durable.language.step import step
from qwit_durable.language.verbs import sleep_until, wait_signal
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.testing.environment import Environment
from tests.core.asking import Play, done, dropped, failed, scheduled
from tests.core.deploys import Cluster, deploy, line_of

log: list[str] = []


@pytest.fixture(autouse=True)
def fresh_log() -> None:
    """Nothing has happened yet."""
    log.clear()


@step
def charge(cents: int = 1) -> str:
    log.append(f"charge {cents}")
    return "paid"


@step
def ship(name: str = "A") -> str:
    log.append(f"ship {name}")
    return f"shipped {name}"


@step
def decline() -> None:
    raise ValueError("declined")


def program_of(definition) -> Program:
    data = definition.encode_args((), {})
    return Program(
        name=definition.name, body=lambda _: definition.body(data)(), encode=definition.encode_result
    )


def misuse_of(definition, *events) -> str:
    """What a body is stuck over."""
    decision = decide(program_of(definition), events)
    assert isinstance(decision, Halt), decision
    assert isinstance(decision.reason, Misuse)
    return decision.reason.message


def at(definition, text: str) -> str:
    """File and line, as messages show them."""
    return f"{__file__}:{line_of(definition.fn, text)}"


CHARGED = done("0", charge(1).as_command(), "paid")


# -- closing -------------------------------------------------------------------------------------------------------


class Door:
    def __enter__(self):
        log.append("opened")

    def __exit__(self, *_):
        log.append("shut")


@workflow
def cleaning() -> Workflow[None]:
    try:
        with Door():
            yield from charge()
    finally:
        charge(2)
        log.append("cleaned")


def test_suspended_body_is_closed_on_its_owners_demand_only():
    """Deciding leaves a body open; closing runs its `with` exits and `finally`, in order."""
    interpreter = Interpreter(program_of(cleaning))

    interpreter.feed([])
    interpreter.feed([])
    assert log == ["opened"]
    interpreter.close()

    assert log == ["opened", "shut", "cleaned"]


def test_building_is_inert_while_a_body_is_closed():
    """A command that cleanup builds and drops is nobody's mistake: it is never run and never reported."""
    program = program_of(cleaning)

    decision = decide(program, [CancelRequested(), dropped("0", charge().as_command())])

    assert isinstance(decision, Finish)
    assert decision.status is Status.CANCELLED


def test_closing_twice_does_no_harm():
    """An owner may close what is closed."""
    interpreter = Interpreter(program_of(cleaning))
    interpreter.feed([])

    interpreter.close()
    interpreter.close()

    assert log == ["opened", "shut", "cleaned"]


def test_nothing_is_left_to_the_garbage_collector():
    """After the owner has closed a body, collecting it runs nothing of it."""
    interpreter = Interpreter(program_of(cleaning))
    interpreter.feed([])
    interpreter.close()
    log.clear()

    del interpreter
    gc.collect()

    assert log == []


def test_inner_generators_are_closed_before_outer_ones():
    """Branches are closed before the body that gathers them."""

    def branch():
        try:
            yield charge().as_command()
        finally:
            log.append("branch")

    def body():
        try:
            yield gather(branch())
        finally:
            log.append("body")

    play = Play(body)

    play.interpreter.close()

    assert log == ["branch", "body"]


def test_error_in_cleanup_is_reported_and_stops_nothing():
    """What `finally` raises while a body is closed is told in words; the run ends as it would have."""

    def body():
        try:
            yield charge().as_command()
        finally:
            raise OSError("disk full")

    play = Play(body)

    play.feed(CancelRequested(), dropped("0", charge().as_command()))

    assert play.finish.status is Status.CANCELLED
    assert play.interpreter.refusals == [
        f"a body that was suspended at {__file__}:{line_of(body, 'yield')} did not close: OSError: disk full.\n"
        f"  likely cause: a `yield` or an error inside `finally` or a `with` block's exit\n"
        f"  way out: move the cleanup into an undo (@step.undo or compensate())"
    ]


# -- yield in finally ----------------------------------------------------------------------------------------------


def test_yield_in_finally_is_refused_at_import():
    """The decorator shows the line, the cause and the way out."""

    def checkout() -> Workflow[None]:
        try:
            yield from charge()
        finally:
            if log:
                yield from ship("in finally")

    with pytest.raises(DefinitionError) as caught:
        workflow(checkout)

    assert str(caught.value) == (
        f"workflow 'checkout' yields within `finally` ({__file__}:{line_of(checkout, 'in finally')})\n"
        "  likely cause: cleanup was written there, but a body is closed wherever it waits, and can't yield then\n"
        "  way out: cleanup belongs in undos (@step.undo, compensate())"
    )


def test_finally_without_yield_is_fine():
    """`finally` itself is harmless, also around a `yield` and with functions of its own that yield."""

    @workflow
    def fine() -> Workflow[str]:
        try:
            return (yield from charge())
        finally:

            def helper():
                yield 1

            log.extend(map(str, helper()))

    decision = decide(program_of(fine), [CHARGED])

    assert isinstance(decision, Finish)
    assert decision.value == b'"paid"'


def tidying():
    try:
        yield from charge()
    finally:
        try:
            yield from ship("first")
        finally:
            try:
                yield from ship("second")
            finally:
                log.append("tidied")


@workflow
def with_a_helper() -> Workflow[None]:
    yield from tidying()


REFUSAL = (
    "a body that was suspended at {} did not close: it yields again at {}.\n"
    "  likely cause: a `yield` or an error inside `finally` or a `with` block's exit\n"
    "  way out: move the cleanup into an undo (@step.undo or compensate())"
)


def refusal_of_tidying() -> str:
    waits, again = line_of(tidying, "charge()"), line_of(tidying, '"first"')
    return REFUSAL.format(f"{__file__}:{waits}", f"{__file__}:{again}")


def test_yield_in_finally_of_a_helper_is_reported_with_its_line():
    """What the import can't see is reported when the body is closed: where it stood and where it yields again."""
    interpreter = Interpreter(program_of(with_a_helper))
    interpreter.feed([])

    interpreter.feed([CancelRequested()])

    assert interpreter.refusals == [refusal_of_tidying()]


def test_refusing_generator_is_closed_all_the_same():
    """The cleanup of a helper that yields is run to its end at once, and nothing is left to be collected."""
    interpreter = Interpreter(program_of(with_a_helper))
    interpreter.feed([])

    interpreter.close()
    assert log == ["tidied"]
    del interpreter
    gc.collect()

    assert log == ["tidied"]


def test_yield_in_finally_of_a_branch_is_reported():
    """A branch that is closed because another one failed is reported, and the body goes on."""

    def failing():
        yield from charge(7)
        raise ValueError("branch")

    def body():
        try:
            yield gather(failing(), tidying())
        except ValueError as error:
            return str(error)

    play = Play(body)

    play.feed(done("0.0.0", charge(7).as_command(), "paid"), dropped("0.1.0", charge().as_command()))

    assert play.value == "branch"
    assert play.interpreter.refusals == [refusal_of_tidying()]


def test_generator_that_never_closes_is_not_collected_either():
    """A body that swallows its end in a loop is reported, and never runs on in another thread's collection."""

    def body():
        while True:
            try:
                yield charge().as_command()
            except BaseException:  # noqa: BLE001 - the trap
                log.append("swallowed")

    play = Play(body)
    line = f"{__file__}:{line_of(body, 'yield')}"

    play.interpreter.close()
    refusals = list(play.interpreter.refusals)
    log.clear()
    del play
    gc.collect()

    assert refusals == [REFUSAL.format(line, line)]
    assert log == []


def test_engine_logs_a_refusal(caplog):
    """On the whole engine the line is in the log, and the run is cancelled all the same."""
    environment = Environment()

    @workflow
    def waiting() -> Workflow[None]:
        yield from gather(tidying_wait())

    def tidying_wait():
        try:
            yield from wait_signal("go")
        finally:
            yield from ship("in finally")

    with caplog.at_level(logging.WARNING, logger="qwit_durable"):
        handle = environment.start(waiting)
        environment.settle()
        handle.cancel()
        environment.settle()

    waits = f"{__file__}:{line_of(tidying_wait, 'wait_signal')}"
    again = f"{__file__}:{line_of(tidying_wait, 'in finally')}"
    assert handle.status() is Status.CANCELLED
    assert [r.message for r in caplog.records] == [f"run {handle.id}: {REFUSAL.format(waits, again)}"]
    assert log == []


# -- dropped commands ----------------------------------------------------------------------------------------------


def forgotten(where: str, then: str = "") -> str:
    """What is said of a call of `charge` that was built at `where` and dropped."""
    return (
        f"{where} built step 'charge' and dropped it: it was never run.\n"
        f"  likely cause: a forgotten `yield from`\n"
        f"  wrong:  charge(...)\n"
        f"  right:  value = yield from charge(...)" + then
    )


@workflow
def as_a_statement() -> Workflow[str]:
    charge()  # forgotten
    return (yield from ship())


@workflow
def overwritten() -> Workflow[str]:
    payment = charge()  # forgotten
    payment = yield from ship()
    return payment


@workflow
def at_the_end() -> Workflow[str]:
    shipped = yield from charge(1)
    _payment = charge(2)  # forgotten
    return shipped


@workflow
def in_a_list() -> Workflow[str]:
    calls = [charge(n) for n in range(3)]  # forgotten
    calls = []
    return (yield from ship(f"{len(calls)}"))


@workflow
def in_a_record() -> Workflow[str]:
    kept = {"calls": (charge(),)}  # forgotten
    del kept
    return (yield from ship())


@workflow
def in_an_exception() -> Workflow[str]:
    try:
        raise ValueError(charge())  # forgotten
    except ValueError:
        pass
    return (yield from ship())


@workflow
def while_it_raises() -> Workflow[str]:
    charge()  # forgotten
    raise ValueError("first line\nsecond line")
    yield


@workflow
def in_a_branch() -> Workflow[str]:
    def branch(n):
        if n == 1:
            charge(n)  # forgotten
        return (yield from ship(f"{n}"))

    yield from gather(branch(0), branch(1), branch(2))
    return "all"


@workflow
def in_a_helper() -> Workflow[str]:
    def helper():
        charge()  # forgotten
        return (yield from ship())

    return (yield from helper())


@pytest.mark.parametrize(
    ("definition", "then"),
    [
        (as_a_statement, ""),
        (in_a_list, ""),
        (in_a_record, ""),
        (in_an_exception, ""),
        (while_it_raises, "\n  then the body raised ValueError: first line"),
        (in_a_branch, ""),
        (in_a_helper, ""),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_dropped_command_is_found_before_anything_further_happens(definition, then):
    """Wherever a call is dropped unused, the run is stuck at the body's very next stop, with the line of the call."""
    message = misuse_of(definition)

    assert message == forgotten(at(definition, "# forgotten"), then)


def test_dropped_command_is_found_at_the_end_of_the_body():
    """A call that is still unused when the body returns was forgotten; the value is not recorded."""
    message = misuse_of(at_the_end, CHARGED)

    assert message == forgotten(at(at_the_end, "# forgotten"))


def test_call_that_is_held_is_found_when_it_is_let_go():
    """A variable keeps a forgotten call alive; it is found at the stop after the variable is given another value."""
    shipped = done("0", ship().as_command(), "shipped")

    message = misuse_of(overwritten, shipped)

    assert message == forgotten(at(overwritten, "# forgotten"))
    assert isinstance(decide(program_of(overwritten), []), Advance)


def test_dropped_verb_is_found():
    """The verbs of a body are forgotten as easily as steps."""

    @workflow
    def hasty() -> Workflow[None]:
        wait_signal("approved")
        yield from charge()

    message = misuse_of(hasty)

    assert message == (
        f"{at(hasty, 'wait_signal')} built wait_signal and dropped it: it was never run.\n"
        "  likely cause: a forgotten `yield from`\n"
        "  wrong:  wait_signal(...)\n"
        "  right:  value = yield from wait_signal(...)"
    )


def test_call_used_as_its_value_is_found():
    """A call that is used as what it would give is refused where it is used, and the run is stuck, not failed."""

    @workflow
    def hasty() -> Workflow[str]:
        payment = charge()
        shipped = yield from ship()
        return payment.id + shipped

    message = misuse_of(hasty, done("0", ship().as_command(), "shipped"))

    assert message == forgotten(
        at(hasty, "= charge()"),
        "\n  then the body raised AttributeError: the call of step 'charge', "
        f"built at {at(hasty, '= charge()')}, was asked for its value's attribute 'id'",
    )


@pytest.mark.parametrize(
    ("call", "said"),
    [(charge, "step 'charge'"), (with_a_helper, "workflow 'with_a_helper'"), (gather, "gather")],
    ids=["step", "workflow", "gather"],
)
def test_call_that_is_returned_is_found(call, said):
    """A body that returns a call means its value: the value is not recorded, and the line is told."""

    @workflow
    def hasty() -> Workflow[str]:
        yield from charge(1)
        return call()

    message = misuse_of(hasty, CHARGED)

    assert message.startswith(f"{at(hasty, 'return')} built {said} and dropped it: it was never run.\n")


def test_failure_of_a_careless_body_does_not_hide_the_call():
    """A body that swallows the error of its own misuse is stuck all the same."""

    @workflow
    def hasty() -> Workflow[str]:
        try:
            if charge():
                pass
        except Exception:  # noqa: BLE001 - careless
            pass
        return (yield from ship())

    message = misuse_of(hasty)

    assert message == forgotten(at(hasty, "charge()"))


def test_commands_may_be_built_first_and_yielded_later():
    """Calls in variables, lists and gathers are no mistake as long as they are yielded in the end."""

    @workflow
    def planned() -> Workflow[list[str]]:
        first, rest = charge(1), [charge(n) for n in (2, 3)]
        both = gather(charge(4), charge(5))
        got = [(yield from first)]
        for call in rest:
            got.append((yield from call))
        got.extend((yield from both))
        return got

    history = [done(f"{n}", charge(n + 1).as_command(), "paid") for n in range(3)]
    history += [done(f"3.{n}", charge(n + 4).as_command(), "paid") for n in range(2)]

    decisions = [decide(program_of(planned), history[:n]) for n in range(6)]

    assert all(isinstance(decision, Advance) for decision in decisions[:-1])
    assert isinstance(decisions[-1], Finish)


def test_one_call_may_be_yielded_twice():
    """A call is a value: each `yield` of it is a command of its own."""

    @workflow
    def twice() -> Workflow[list[str]]:
        call = charge(1)
        return [(yield from call), (yield call)]

    decision = decide(program_of(twice), [CHARGED, done("1", charge(1).as_command(), "again")])

    assert isinstance(decision, Finish)
    assert decision.value == b'["paid","again"]'


@workflow
def ends_a_plan() -> Workflow[str]:
    first, second = decline(), charge()
    try:
        yield from first
        yield from second
    except StepFailed:
        second = None
    yield from ship("1")
    yield from ship("2")
    return "did without"


@workflow
def ends_a_helpers_plan() -> Workflow[str]:
    def helper():
        first, second = decline(), charge()
        yield from first
        yield from second

    with suppress(StepFailed):
        yield from helper()
    yield from ship("1")
    yield from ship("2")
    return "did without"


def test_failure_excuses_what_was_planned_before_it():
    """A call that was built first and is not reached because a step before it failed was not forgotten."""
    history = [failed("0", decline().as_command())]
    history += [done(n, ship(n).as_command(), "shipped") for n in "12"]

    decisions = [decide(program_of(definition), history) for definition in (ends_a_plan, ends_a_helpers_plan)]

    assert [d.value for d in decisions if isinstance(d, Finish)] == [b'"did without"', b'"did without"']


def test_failure_of_a_branch_excuses_the_plans_of_the_others():
    """What other branches, and members behind the limit, would have called is not forgotten either."""

    def branch(call):
        first, second = call, charge()
        yield from first
        yield from second

    def body():
        with suppress(StepFailed):
            yield gather(branch(decline()), branch(ship()), branch(charge(9)), limit=2)
        yield from charge(3)

    play = Play(body)

    play.feed(failed("0.0.0", decline().as_command()), dropped("0.1.0", ship().as_command()))

    assert play.begin == {"1": "charge"}


def test_error_of_a_branch_excuses_the_plans_of_the_others():
    """Where a branch itself raises, what the branches closed for it had built is not forgotten."""

    def failing():
        yield from charge(7)
        raise ValueError("branch")

    def planning():
        first, second = charge(1), charge(2)
        yield from first
        yield from second

    def body():
        with suppress(ValueError):
            yield gather(failing(), planning())
        yield from charge(3)
        return "on"

    play = Play(body)

    play.feed(done("0.0.0", charge(7).as_command(), "paid"), dropped("0.1.0", charge(1).as_command()))
    play.feed(done("1", charge(3).as_command(), "paid"))

    assert play.value == "on"


def test_call_that_is_forgotten_after_a_failure_is_found():
    """A failure excuses plans made before it, not calls that are dropped afterwards."""

    @workflow
    def hasty() -> Workflow[str]:
        try:
            yield from decline()
        except StepFailed:
            charge()  # forgotten
        return (yield from ship())

    message = misuse_of(hasty, failed("0", decline().as_command()))

    assert message == forgotten(at(hasty, "# forgotten"))


def forgetful(*, fixed):
    """A deploy whose body forgets a `yield from`, and the one that mends it."""
    with deploy() as code:

        @step
        def hold() -> str:
            log.append("hold")
            return "held"

        @step
        def pay() -> str:
            log.append("pay")
            return "paid"

        @workflow
        def sell() -> Workflow[list[str]]:
            held = yield from hold()
            if fixed:
                return [held, (yield from pay())]
            pay()  # forgotten
            return [held, (yield from hold())]

    return code


def test_run_with_a_dropped_command_is_stuck_and_a_fixed_deploy_goes_on():
    """Nothing is recorded beyond the step before it, nothing is undone, and the fixed body goes on from there."""
    cluster = Cluster()
    wrong = forgetful(fixed=False)
    first = cluster.boot(wrong)
    sell = wrong.workflow("sell")

    handle = first.start(sell)
    first.settle()
    recorded = cluster.history(handle.id)
    with pytest.raises(RunStuck) as caught:
        handle.result(0)
    fixed = cluster.boot(forgetful(fixed=True)).get(handle.id)

    assert caught.value.reason == (
        f"run {handle.id} of workflow 'sell' can't go on: {at(sell, '# forgotten')} built step 'pay' and dropped it: "
        "it was never run.\n"
        "  likely cause: a forgotten `yield from`\n"
        "  wrong:  pay(...)\n"
        "  right:  value = yield from pay(...)"
    )
    assert [(event.name, event.position) for event in recorded] == [("hold", "0")]
    assert fixed.result(0) == ["held", "paid"]
    assert log == ["hold", "pay"]


# -- what is no command --------------------------------------------------------------------------------------------


def plain(amount=7):
    return amount


async def coroutine():
    return 1


def branch():
    yield from charge()


@workflow
def yields_a_generator() -> Workflow[None]:
    yield branch()  # wrong


@workflow
def yields_a_value() -> Workflow[None]:
    yield plain()  # wrong


@workflow
def yields_nothing() -> Workflow[None]:
    yield  # wrong


@workflow
def yields_a_coroutine() -> Workflow[None]:
    yield coroutine()  # wrong


@workflow
def yields_a_step() -> Workflow[None]:
    yield charge  # wrong


@workflow
def yields_a_workflow() -> Workflow[None]:
    yield as_a_statement  # wrong


@workflow
def yields_a_list() -> Workflow[None]:
    yield [charge(1), charge(2)]  # wrong


@workflow
def yields_from_a_list() -> Workflow[None]:
    yield from [charge(1), charge(2)]  # wrong


@workflow
def yields_from_a_map() -> Workflow[None]:
    yield from map(charge, [1, 2])  # wrong


_PLAIN = (
    "  likely cause: a plain function was called where a step was meant\n"
    "  wrong:  yield function(...)\n"
    "  right:  decorate the function with @step and write `value = yield from function(...)`"
)
_FROM_A_LIST = (
    "yields from a list or another iterable: it can't take the values of its calls.\n"
    "  likely cause: all of them are meant to run at once, or one after the other\n"
    "  wrong:  yield from [call, ...]\n"
    "  right:  values = yield from gather(*calls)\n"
    "  or:     for call in calls: value = yield from call"
)


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (
            yields_a_generator,
            "yields the bare generator 'branch': its commands would never run.\n"
            "  likely cause: `yield` where `yield from` was meant\n"
            "  wrong:  yield branch(...)\n"
            "  right:  value = yield from branch(...)",
        ),
        (yields_a_value, "yields 7, which is no command.\n" + _PLAIN),
        (yields_nothing, "yields None, which is no command.\n" + _PLAIN),
        (
            yields_a_step,
            f"yields {charge!r} itself, which is no command.\n"
            "  likely cause: it is not called\n"
            "  wrong:  yield charge\n"
            "  right:  value = yield from charge(...)",
        ),
        (
            yields_a_list,
            "yields a list of calls, which is no command.\n"
            "  likely cause: all of them are meant to run at once\n"
            "  wrong:  yield [call, ...]\n"
            "  right:  values = yield from gather(*calls)",
        ),
        (yields_from_a_list, _FROM_A_LIST),
        (yields_from_a_map, _FROM_A_LIST),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_what_is_no_command_is_refused_with_its_line(definition, message):
    """Yielding something else is a misuse that shows the wrong line, the likely cause and the right form."""
    found = misuse_of(definition)

    assert found == f"{at(definition, '# wrong')} {message}"


def test_coroutine_is_refused_and_closed():
    """A coroutine is named as such, and closed, so that Python does not warn of it later."""
    found = misuse_of(yields_a_coroutine)
    gc.collect()

    where, _, rest = found.partition(" yields <coroutine object coroutine at ")
    assert where == at(yields_a_coroutine, "# wrong")
    assert rest.partition(">")[2] == (
        ", a coroutine: a body can't await.\n"
        "  likely cause: an async function was called as if it were a step\n"
        "  wrong:  yield function(...)\n"
        "  right:  decorate the function with @step and write `value = yield from function(...)`"
    )


def test_workflow_that_is_not_called_is_refused():
    """A workflow is called as a step is."""
    found = misuse_of(yields_a_workflow)

    assert found.endswith("  wrong:  yield as_a_statement\n  right:  value = yield from as_a_statement(...)")


def test_line_is_that_of_the_innermost_helper():
    """Where a helper yields what is no command, it is the helper's line that is shown."""

    def helper():
        yield from charge()
        yield plain()

    @workflow
    def helped() -> Workflow[None]:
        yield from helper()

    found = misuse_of(helped, CHARGED)

    assert found == f"{__file__}:{line_of(helper, 'plain()')} yields 7, which is no command.\n{_PLAIN}"


def test_generator_that_ran_before_is_refused():
    """A gather that is yielded twice would find its branches used up; it says so instead of answering nothing."""

    @workflow
    def twice() -> Workflow[None]:
        both = gather(branch(), sleeping())
        yield from both
        yield from both

    def sleeping():
        return "awake"
        yield from sleep_until(...)

    found = misuse_of(twice, done("0.0.0", charge().as_command(), "paid"))

    assert found == (
        f"{at(twice, 'gather')} gives gather() the generator 'branch', which has run before: it can run only once.\n"
        "  likely cause: the same gather, or the same generator, is yielded twice\n"
        "  right:  value = yield from gather(branch(...), ...), built anew each time"
    )


def test_run_that_yields_no_command_is_stuck_and_goes_on():
    """On the whole engine: nothing is run or recorded beyond, nothing is undone, and a fixed deploy goes on."""

    def code(*, fixed):
        with deploy() as code:

            @workflow
            def odd() -> Workflow[int]:
                if not fixed:
                    yield 7
                return 8
                yield

        return code

    cluster = Cluster()
    first = cluster.boot(code(fixed=False))
    handle = first.start(first.registry.workflow("odd"))
    first.settle()
    assert handle.status() is Status.STUCK
    assert cluster.history(handle.id) == []

    second = cluster.boot(code(fixed=True))

    assert second.get(handle.id).result(0) == 8


# -- a step that calls a step, a workflow that is none -------------------------------------------------------------


@step
def nesting() -> None:
    ship("nested")


@workflow
def calls_the_nesting_step() -> Workflow[None]:
    yield from nesting()


def test_step_called_inside_a_step_is_refused():
    """A call that nobody would yield raises where it is made, with the line and both ways out."""
    environment = Environment()

    handle = environment.start(calls_the_nesting_step)
    environment.settle()
    with pytest.raises(WorkflowFailed) as caught:
        handle.result(0)

    assert caught.value.cause is not None
    assert caught.value.cause.is_a(MisuseError)
    assert caught.value.cause.root.message == (
        f"step 'ship' was called inside the step 'nesting', at {at(nesting, 'nested')}: it would never run\n"
        "  likely cause: what belongs in the workflow's body was written in a step\n"
        "  way out: ship.fn(...) runs it as part of this step; or call both in the workflow"
    )
    assert log == []


def test_workflow_without_yield_is_refused():
    """A function that calls a step and does not yield it shows the line, and how it would be right."""

    def checkout(cents):
        payment = charge(cents)
        return payment  # noqa: RET504 - as users write it

    with pytest.raises(DefinitionError) as caught:
        workflow(checkout)

    assert str(caught.value) == (
        f"workflow 'checkout' ({__file__}:{line_of(checkout, 'charge(cents)')}) is not a generator function: "
        "it would run at once, not durably\n"
        "  likely cause: `yield from` is missing before a call\n"
        "  wrong:  payment = charge(cents)\n"
        "  right:  payment = yield from charge(cents)"
    )


def test_workflow_that_calls_nothing_is_refused():
    """A plain function is told what a body without steps looks like."""

    def nothing():
        return 1

    with pytest.raises(DefinitionError) as caught:
        workflow(nothing)

    assert str(caught.value) == (
        f"workflow 'nothing' ({__file__}:{line_of(nothing, 'def nothing')}) is not a generator function: "
        "it would run at once, not durably\n"
        "  likely cause: `yield from` is missing before a call\n"
        "  wrong:  def nothing(...): without any `yield from`\n"
        "  right:  value = yield from step(...), or `yield from ()` where there is nothing to do"
    )


def test_async_workflow_is_refused():
    """An `async def` is told that workflows are generators, and that steps may be async."""

    async def checkout():
        await coroutine()

    with pytest.raises(DefinitionError) as caught:
        workflow(checkout)

    assert str(caught.value) == (
        f"workflow 'checkout' ({__file__}:{line_of(checkout, 'async def')}) is an `async def`: "
        "workflows are generators\n"
        "  likely cause: it is written as for asyncio, which can't be run again from a record\n"
        "  wrong:  async def checkout(...), and `await` in it\n"
        "  right:  def checkout(...) -> Workflow[...], and `yield from` in it; steps may be `async def`"
    )


def test_wait_under_way_is_no_drop():
    """A call that was yielded and waits is used, however long it waits."""

    @workflow
    def waiting() -> Workflow[None]:
        yield from wait_signal("go")

    interpreter = Interpreter(program_of(waiting))
    interpreter.feed([])
    gc.collect()

    decision = interpreter.feed([scheduled("0", wait_signal("go").as_command())])

    assert isinstance(decision, Advance)
    interpreter.close()
