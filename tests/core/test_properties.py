"""Random programs in a random world: what holds of every run."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from qwit_durable.core import (
    Finish,
    Halt,
    Interpreter,
    Mismatch,
    OperatorActed,
    Resolved,
    Status,
    Value,
    decide,
)
from tests.core import asking, simulated, trees
from tests.core.trees import Notes

few = settings(max_examples=60, deadline=None)
options = st.fixed_dictionaries(
    {
        "on_undo_failure": st.sampled_from(["stop", "continue"]),
        "parks": st.booleans(),
        "is_child": st.booleans(),
    }
)


def check_ledger(run: simulated.Run, notes: Notes, *, knows_scopes: bool = True) -> None:
    """What is owed is undone exactly once, in the order of its plan; what is not owed stands."""
    ledger, finish = run.world.ledger, run.finish
    for history in (*run.past, run.history):
        check_order(history, {position for _, position in ledger.given})
    done = set(ledger.done) - ledger.given
    last = {key for key in done if key[0] == run.world.generation}
    lost = {key for key in last if notes.is_to_be_undone(ledger.places[key])}
    if finish.status is Status.COMPLETED:
        if knows_scopes:
            assert ledger.gone & last == lost
            assert not any(key in ledger.gone for key in done if key not in last and not run.past)
    elif not run.refuses_compensation:
        assert ledger.gone == done


def check_order(history: list, given: set[str]) -> None:
    """Each plan is what its scope owes, newest first, and is followed in that order; `given` are steps skipped."""
    for started, owed in simulated.plans(history):
        plan = [debt.position for debt in started.plan if debt.position not in given]
        assert plan == [position for position in owed if position not in given]
        undone = [
            event.position.removeprefix("~")
            for event in history
            if isinstance(event, Resolved)
            and event.position.removeprefix("~") in plan
            and event.position.startswith("~")
            and isinstance(event.outcome, Value)
        ]
        if not any(isinstance(event, OperatorActed) for event in history):
            assert undone == [position for position in plan if position in undone]


@few
@given(tree=trees.trees, seed=trees.seeds, options=options, restarts=st.sampled_from([0, 0, 1, 3]))
def test_what_is_owed_is_undone_exactly_once_whatever_happens(tree, seed, options, restarts):
    """Failures, cancels, rollbacks, deadlines and parked runs: the run ends, and the ledger adds up."""
    notes = Notes()
    program = trees.program(tree, notes, restarts=restarts, **options)

    run = simulated.play(program, seed, notes=notes, asks=2)

    check_ledger(run, notes)


@few
@given(tree=trees.trees, seed=trees.seeds, options=options)
def test_history_in_any_slices_gives_the_decision_of_one_piece(tree, seed, options):
    """An interpreter that is fed slice by slice decides at each cut as a fresh one that is fed all of it."""
    program = trees.program(tree, **options)
    history = simulated.play(program, seed).history
    chance = random.Random(seed)
    cuts = sorted(chance.choices(range(len(history) + 1), k=5))
    interpreter = Interpreter(program)

    sliced = [interpreter.feed(history[a:b]) for a, b in zip([0, *cuts], [*cuts, len(history)], strict=True)]

    assert sliced == [decide(program, history[:cut]) for cut in [*cuts, len(history)]]
    interpreter.close()


@few
@given(tree=trees.trees, seed=trees.seeds)
def test_every_prefix_of_every_history_can_be_decided(tree, seed):
    """Wherever a run is looked at, deciding raises nothing and gives what it gave when the run was there."""
    program = trees.program(tree)
    run = simulated.play(program, seed)

    decided = [decide(program, run.history[:head]) for head in range(len(run.history) + 1)]

    assert not any(isinstance(decision, Halt) for decision in run.decisions if decision not in decided)
    assert decided[0] == run.decisions[0]
    assert decided[-1] == run.decisions[-1]
    assert all(decision in run.decisions for decision in decided if not isinstance(decision, Halt))


@few
@given(tree=trees.trees, seed=trees.seeds)
def test_replaying_the_whole_history_gives_the_final_decision(tree, seed):
    """A run that has ended ends the same way for whoever reads its history."""
    program = trees.program(tree)
    run = simulated.play(program, seed)

    again = decide(program, run.history)

    assert again == run.finish


@few
@given(tree=trees.trees, seed=trees.seeds, options=options, restarts=st.sampled_from([0, 2]))
def test_eviction_at_every_point_changes_nothing(tree, seed, options, restarts):
    """A new interpreter for each decision: the same events, the same decisions."""
    program = trees.program(tree, restarts=restarts, **options)

    kept = simulated.play(program, seed, asks=2)
    evicted = simulated.play(program, seed, evicts=True, asks=2)

    assert evicted.history == kept.history
    assert evicted.decisions == kept.decisions


@few
@given(tree=trees.trees, seed=trees.seeds, restarts=st.sampled_from([0, 0, 2]))
def test_undisturbed_run_comes_to_what_its_body_says(tree, seed, restarts):
    """In whatever order the world answers, the value and the success are those of the body read as a plain program."""
    notes = Notes()
    program = trees.program(tree, notes, restarts=restarts)

    run = simulated.play(program, seed, notes=notes, asks=0)

    if trees.fails(tree, notes):
        assert run.finish.status in {Status.FAILED, Status.COMPENSATED}
        assert run.finish.failure is not None
    else:
        value = asking.encode(trees.value_of(tree, notes))
        assert run.finish == Finish(status=Status.COMPLETED, value=value)


@few
@given(tree=trees.trees, seed=trees.seeds)
def test_completed_sub_workflow_tells_what_it_owes(tree, seed):
    """A child that completes hands its parent the same plan that it would have followed itself."""
    run = simulated.play(trees.program(tree, is_child=True), seed)

    finish = run.finish

    if finish.status is Status.COMPLETED:
        assert [debt.position for debt in finish.owed] == simulated.owed_at(run.history)


@few
@given(tree=trees.trees, seed=trees.seeds, at=st.integers(0, 30), parks=st.booleans())
def test_run_goes_on_with_code_that_asks_whether_it_is_patched(tree, seed, at, parks):
    """Whatever an old run has recorded, code with `patched` in it goes on from there to the end that the body says."""
    notes = Notes()
    old = trees.program(tree, notes, asks_patches=False, parks=parks)
    new = trees.program(tree, notes, parks=parks)

    run = simulated.play(old, seed, notes=notes, asks=1, then=(at, new))

    assert not any(isinstance(d, Halt) and isinstance(d.reason, Mismatch) for d in run.decisions)
    check_ledger(run, notes)


@few
@given(tree=trees.trees, other=trees.trees, seed=trees.seeds, at=st.integers(1, 30))
def test_run_whose_code_has_changed_undoes_all_that_is_recorded(tree, other, seed, at):
    """A deploy of quite another body: a person ends the run, and what it had done is undone all the same."""
    notes = Notes()
    old, new = trees.program(tree, notes), trees.program(other, notes)

    run = simulated.play(old, seed, notes=notes, then=(at, new), asks=1)

    if any(isinstance(d, Halt) and isinstance(d.reason, Mismatch) for d in run.decisions):
        assert run.finish.status is not Status.COMPLETED
    check_ledger(run, notes, knows_scopes=False)
