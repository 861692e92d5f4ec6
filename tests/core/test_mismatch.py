"""A body that changed under open runs: what is a mismatch, what is none, and how a run gets over it."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest

from qwit_durable.core import Halt, Interpreter, Kind, Mismatch, Program, Resolved, Status, Value, decide
from qwit_durable.core.commands import Site
from qwit_durable.errors import RunStuck
from qwit_durable.language.groups import gather as make_gather
from qwit_durable.language.step import step as make_step
from qwit_durable.language.verbs import sleep, wait_signal
from qwit_durable.language.workflow import Workflow, workflow
from tests.core.asking import (
    CANCEL,
    SLEEP,
    Play,
    attempt_failed,
    child,
    compensate,
    done,
    dropped,
    failed,
    gather,
    record,
    scheduled,
    sent,
    signal,
    step,
)
from tests.core.deploys import Cluster, deploy, line_of

A, B, C = step("a", 1), step("b"), step("c")


def asks(*commands):
    def body():
        values = []
        for command in commands:
            values.append((yield command))
        return values

    return body


# -- recorded beside found -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recorded", "found"),
    [
        (step("a"), step("b")),
        (step("a", 1), step("a", 2)),
        (step("a", 1), step("a")),
        (step("a"), child("a")),
        (child("a"), step("a")),
        (child("a", 1), child("a", 2)),
        (step("sleep"), SLEEP),
        (record("uuid"), record("random")),
        (record("now"), signal("now")),
        (compensate("a"), step("a")),
        (compensate("a", 1), compensate("a", 2)),
        (compensate("a"), compensate("b")),
    ],
)
def test_another_kind_name_or_argument_is_a_mismatch(recorded, found):
    """What is recorded at a position must be what the body asks for there; both are told."""
    play = Play(asks(found))

    play.feed(done("0", recorded, 1))

    reason = play.halt.reason
    assert isinstance(reason, Mismatch)
    assert (reason.position, reason.recorded, reason.found) == ("0", done("0", recorded, 1), found)


@pytest.mark.parametrize(
    ("recorded", "found"),
    [(signal("a"), signal("b")), (SLEEP, step("a")), (step("a"), step("b")), (child("a"), child("b"))],
)
def test_another_command_where_one_was_handed_over_is_a_mismatch(recorded, found):
    """A wait that stands open under another name is found at once, not when it ends."""
    play = Play(asks(found))

    play.feed(scheduled("0", recorded, queued=True))

    assert isinstance(play.halt.reason, Mismatch)


def test_mismatch_tells_file_and_line_of_what_was_found():
    """The site of the command that the body asks for is in the decision."""
    site = Site("shop.py", 12)
    play = Play(asks(attrs.evolve(B, site=site)))

    play.feed(done("0", A))

    assert play.halt.reason.found is not None
    assert play.halt.reason.found.site == site


def test_missing_command_is_a_mismatch():
    """A body that ends before a recorded command tells that it has ended."""
    play = Play(asks(A))

    play.feed(done("0", A), done("1", B))

    assert play.halt.reason.found is None
    assert play.halt.reason.found_text == "nothing: the body has ended by then"


def test_command_at_another_position_is_a_mismatch():
    """A step that moved into a gather stands at another position; what the body waits for instead is told."""
    play = Play(asks(gather(A, B)))

    play.feed(done("0", A))

    assert play.halt.reason.found is None
    assert play.halt.reason.found_text == "nothing: the body waits for step 'a' at 0.0"


def test_extra_command_in_between_is_a_mismatch():
    """A command that was put before recorded ones takes the place of the first of them."""
    play = Play(asks(A, C, B))

    play.feed(done("0", A), done("1", B))

    assert play.halt.reason.found == C


def test_extra_command_at_the_end_is_none():
    """What is asked for beyond the history is simply next."""
    play = Play(asks(A, B, C))

    play.feed(done("0", A), done("1", B))

    assert play.begin == {"2": "c"}


def test_swapped_members_of_a_gather_are_a_mismatch():
    """Members are known by their index: swapping two of them asks for other commands there."""
    play = Play(asks(gather(B, A)))

    play.feed(done("0.1", B))

    assert play.halt.reason.found == A


def test_changes_that_do_not_touch_identity_are_none():
    """A duration, a timeout, a limit and the decoding of a value may change under an open run."""
    before = Play(asks(gather(SLEEP, signal("s"), limit=1), A))
    before.feed(scheduled("0.0", SLEEP))
    longer = attrs.evolve(SLEEP, duration=timedelta(days=9))
    after = Play(asks(gather(longer, attrs.evolve(signal("s"), timeout=timedelta(1))), A))

    after.feed(*before.history)

    assert after.waiting == {"0.0": "sleep"}
    assert after.begin == {"0.1": "s"}


def test_first_mismatch_stays():
    """Whatever is recorded afterwards, the run is stuck over the first place that differs."""
    play = Play(asks(A, B))
    play.feed(done("0", C))
    first = play.decision

    play.feed(done("1", C), sent("s"), failed("2", A))

    assert play.decision == first


def test_body_is_closed_at_a_mismatch():
    """A body that no longer matches does not stand open until it is collected."""
    closed = []

    def body():
        try:
            yield A
        finally:
            closed.append("closed")

    play = Play(body)

    play.feed(done("0", B))

    assert closed == ["closed"]


def test_mismatch_in_what_settles_is_found():
    """A command that nobody waits for any more must match its history all the same."""
    play = Play(asks(gather(A, B)))
    play.feed(failed("0.0", A))

    play.feed(dropped("0.1", C))

    assert play.halt.reason.found == B


def test_attempts_beyond_a_mismatch_are_counted():
    """Attempts that nobody can ask the body about are told to who settles them when the run is cancelled."""
    play = Play(asks(A, B))
    play.feed(done("0", C), scheduled("1", B, queued=True))

    play.feed(attempt_failed("1", "b", 2), CANCEL)

    (settled,) = play.advance.settle
    assert (settled.position, settled.attempts) == ("1", 2)


# -- through the language ------------------------------------------------------------------------------------------


def program_of(definition, *args) -> Program:
    data = definition.encode_args(args, {})
    return Program(
        name=definition.name, body=lambda _: definition.body(data)(), encode=definition.encode_result
    )


def recorded_step(name: str, args: bytes) -> Resolved:
    return Resolved(position="0", kind=Kind.STEP, name=name, args=args, outcome=Value(b"null"))


@attrs.frozen
class Order:
    id: str
    note: str = "none"


@make_step
def pack(order: Order, *, fragile: bool = False) -> None:
    """Never run."""


@workflow
def packing(order: Order) -> Workflow[str]:
    yield from pack(order)
    return "packed"


@pytest.mark.parametrize(
    "args",
    [
        b'{"fragile":false,"order":{"id":"1","note":"none"}}',
        b'{"fragile":false,"order":{"id":"1"}}',
        b'{"order":{"id":"1","note":"none"}}',
        b'{"order":{"id":"1"}}',
        b'{"order":{"id":"1"},"removed":7}',
    ],
    ids=["same", "new field", "new parameter", "both", "removed parameter"],
)
def test_new_fields_and_parameters_with_defaults_are_no_mismatch(args):
    """Where the bytes differ, the stored arguments are read with today's types and compared again."""
    program = program_of(packing, Order("1"))

    decision = decide(program, [recorded_step("pack", args)])

    assert decision.value == b'"packed"'


@pytest.mark.parametrize(
    "args",
    [
        b'{"fragile":true,"order":{"id":"1"}}',
        b'{"order":{"id":"2"}}',
        b'{"order":{"note":"none"}}',
        b'{"order":7}',
        b"null",
    ],
    ids=["other value", "other field", "no longer readable", "another type", "nothing"],
)
def test_arguments_that_differ_in_todays_types_are_a_mismatch(args):
    """A default fills in what is new; it does not make different values the same."""
    program = program_of(packing, Order("1"))

    decision = decide(program, [recorded_step("pack", args)])

    assert isinstance(decision, Halt)
    assert isinstance(decision.reason, Mismatch)
    assert decision.reason.found is not None
    assert decision.reason.found.site == Site(__file__, line_of(packing.fn, "pack(order)"))


@workflow
def shipping(order: Order) -> Workflow[str]:
    return (yield from packing(order))


def test_sub_workflow_is_read_with_todays_types_too():
    """A call of a sub-workflow that was recorded before a field existed still matches."""
    program = program_of(shipping, Order("1"))
    old = Resolved(
        position="0",
        kind=Kind.WORKFLOW,
        name="packing",
        args=b'{"order":{"id":"1"}}',
        outcome=Value(b'"packed"'),
    )

    decision = decide(program, [old])

    assert decision.value == b'"packed"'


def test_undo_gets_the_arguments_as_they_were_recorded():
    """What is owed keeps the recorded arguments, not today's reading of them."""

    @make_step
    def hold(order: Order) -> None:
        """Never run."""

    @hold.undo
    def release(order: Order) -> None:
        """Never run."""

    @workflow
    def holding(order: Order) -> Workflow[None]:
        yield from hold(order)
        raise ValueError

    old = b'{"order":{"id":"1"}}'

    decision = decide(program_of(holding, Order("1")), [recorded_step("hold", old)])

    assert decision.plan[0].args == old


# -- on the whole engine -------------------------------------------------------------------------------------------


def selling(log, *, waits=True):
    """The code of a deploy: `sell` charges, waits for a signal, ships."""
    with deploy() as code:

        @make_step
        def charge(cents: int) -> str:
            log.append("charge")
            return "paid"

        @make_step
        def ship(name: str) -> str:
            log.append("ship")
            return f"shipped {name}"

        @workflow
        def sell() -> Workflow[str]:
            yield from charge(5)
            yield from wait_signal("go")
            return (yield from ship("A"))

    return code


def wrong_selling(log):
    """The code of a deploy that charges something else."""
    with deploy() as code:

        @make_step
        def charge(cents: int) -> str:
            """Never run."""

        @workflow
        def sell() -> Workflow[str]:
            yield from charge(6)
            log.append("wrong body went on")
            return "wrong"

    return code


def test_run_is_stuck_and_goes_on_after_a_fixed_deploy():
    """Under a body that no longer matches nothing is run or recorded; the next deploy that matches goes on."""
    log = []
    cluster = Cluster()
    first = cluster.boot(selling(log))
    handle = first.start(first.registry.workflow("sell"))
    first.settle()
    before = cluster.history(handle.id)

    wrong = wrong_selling(log)
    second = cluster.boot(wrong)
    second.get(handle.id).signal("go")
    second.settle()
    stuck = second.get(handle.id)
    with pytest.raises(RunStuck) as caught:
        stuck.result(0)
    assert stuck.status() is Status.STUCK
    assert cluster.history(handle.id)[: len(before)] == before
    assert len(cluster.history(handle.id)) == len(before) + 1
    fixed = cluster.boot(selling(log)).get(handle.id)

    line = line_of(wrong.workflow("sell").fn, "charge(6)")
    assert caught.value.reason == (
        f"run {handle.id} of workflow 'sell' no longer matches its history at position 0.\n"
        f"  recorded: step 'charge' {{\"cents\":5}}\n"
        f"  found:    step 'charge' {{\"cents\":6}}   at {__file__}:{line}\n"
        f"  in the history:\n"
        f"    - 0  step 'charge' {{\"cents\":5}}\n"
        f"    + 0  step 'charge' {{\"cents\":6}}\n"
        f"      1  signal 'go'\n"
        f"The body changed, or it reads something that differs between replays (clock, random, environment).\n"
        f"Nothing was run or recorded. Ways out: deploy a body that matches (`patched` keeps the old path), and the "
        f"run\n"
        f"goes on by itself, or after `qwit retry {handle.id}`; `qwit rollback {handle.id}` undoes what it did;\n"
        f"`qwit terminate {handle.id}` leaves all as it is."
    )
    assert fixed.result(0) == "shipped A"
    assert log == ["charge", "ship"]


def test_deploy_that_is_still_wrong_leaves_the_run_stuck():
    """Starting workers of a body that does not match appends nothing, however often."""
    log = []
    cluster = Cluster()
    first = cluster.boot(selling(log))
    handle = first.start(first.registry.workflow("sell"))
    first.settle()
    handle.signal("go")
    before = cluster.history(handle.id)

    for _ in range(3):
        cluster.boot(wrong_selling(log))

    assert first.get(handle.id).status() is Status.STUCK
    assert cluster.history(handle.id) == before
    assert log == ["charge"]


def test_retry_looks_again():
    """`retry` on a stuck run after the fixed deploy goes on without waiting for a worker to start."""
    log = []
    cluster = Cluster()
    first = cluster.boot(selling(log))
    handle = first.start(first.registry.workflow("sell"))
    first.settle()
    handle.signal("go")
    cluster.boot(wrong_selling(log))

    fixed = cluster.join(selling(log))
    fixed.get(handle.id).retry()
    fixed.settle()

    assert fixed.get(handle.id).result(0) == "shipped A"


@attrs.frozen
class Parcel:
    id: str


@attrs.frozen
class NewParcel:
    id: str
    weight: int = 1


def test_open_run_survives_new_defaults():
    """A deploy that adds a field and a parameter with defaults carries on with runs that were started before it."""
    log = []
    with deploy() as old:

        @make_step
        def wrap(parcel: Parcel) -> str:
            log.append("old")
            return parcel.id

        @workflow
        def sending(parcel: Parcel) -> Workflow[list[str]]:
            wrapped = yield from wrap(parcel)
            yield from sleep(timedelta(days=1))
            return [wrapped]

    cluster = Cluster()
    environment = cluster.boot(old)
    handle = environment.start(sending, Parcel("1"))
    environment.settle(until=cluster.clock.now())

    with deploy() as new:

        @make_step(name="wrap")
        def new_wrap(parcel: NewParcel, *, ribbon: bool = False) -> str:
            log.append("new")
            return parcel.id

        @workflow(name="sending")
        def new_sending(parcel: NewParcel, *, rush: bool = False) -> Workflow[list[str]]:
            wrapped = yield from new_wrap(parcel)
            yield from sleep(timedelta(days=1))
            return [wrapped, (yield from new_wrap(parcel, ribbon=True))]

    environment = cluster.boot(new)

    assert environment.get(handle.id).result(0) == ["1", "1"]
    assert log == ["old", "new"]


def test_unwinding_survives_a_deploy_that_changes_the_body():
    """A run that is being unwound follows its recorded plan under a body that no longer matches."""
    log = []

    def code(change):
        with deploy() as code:

            @make_step
            def hold(what: str) -> str:
                log.append(f"hold {what}")
                return what

            @hold.undo
            def free(what: str) -> None:
                if change == "old":
                    raise ConnectionError("not now")
                log.append(f"free {what}")

            @workflow
            def booking() -> Workflow[None]:
                if change == "old":
                    yield from make_gather(hold("car"), hold("room"))
                    raise ValueError("no flight")
                yield from hold("boat")

        return code

    cluster = Cluster()
    first = cluster.boot(code("old"))
    handle = first.start(first.registry.workflow("booking"))
    first.settle(until=cluster.clock.now() + timedelta(seconds=2))
    assert handle.status() is Status.COMPENSATING
    first.engine.stop()

    second = cluster.boot(code("new"))

    assert second.get(handle.id).status() is Status.COMPENSATED
    assert log == ["hold car", "hold room", "free room", "free car"]


def test_interpreter_is_not_kept_over_a_mismatch():
    """A cached interpreter of the old body is no way around: a fresh one of the same code decides alike."""
    program = Play(asks(B)).program
    interpreter = Interpreter(program)

    kept = interpreter.feed([done("0", A)])

    assert kept == decide(program, [done("0", A)])
    interpreter.close()
