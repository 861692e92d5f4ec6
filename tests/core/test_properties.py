"""Random programs in a random world: what holds of every run."""

from __future__ import annotations

import random

from hypothesis import given, settings

from qwit_durable.core import CancelRequested, Finish, Halt, Interpreter, Status, decide
from tests.core import simulated

few = settings(max_examples=80, deadline=None)


@few
@given(tree=simulated.trees, seed=simulated.seeds)
def test_history_in_any_slices_gives_the_decision_of_one_piece(tree, seed):
    """An interpreter that is fed slice by slice decides at each cut as a fresh one that is fed all of it."""
    program = simulated.program(tree)
    history = simulated.play(program, seed).history
    chance = random.Random(seed)
    cuts = sorted(chance.choices(range(len(history) + 1), k=5))
    interpreter = Interpreter(program)

    sliced = [interpreter.feed(history[a:b]) for a, b in zip([0, *cuts], [*cuts, len(history)], strict=True)]

    assert sliced == [decide(program, history[:cut]) for cut in [*cuts, len(history)]]
    interpreter.close()


@few
@given(tree=simulated.trees, seed=simulated.seeds)
def test_every_prefix_of_every_history_can_be_decided(tree, seed):
    """Wherever a run is looked at, deciding raises nothing and gives what it gave when the run was there."""
    program = simulated.program(tree)
    run = simulated.play(program, seed)

    decided = [decide(program, run.history[:head]) for head in range(len(run.history) + 1)]

    assert not any(isinstance(decision, Halt) for decision in run.decisions if decision not in decided)
    assert decided[0] == run.decisions[0]
    assert decided[-1] == run.decisions[-1]
    assert all(decision in run.decisions for decision in decided)


@few
@given(tree=simulated.trees, seed=simulated.seeds)
def test_replaying_the_whole_history_gives_the_final_decision(tree, seed):
    """A run that has ended ends the same way for whoever reads its history."""
    program = simulated.program(tree)
    run = simulated.play(program, seed)

    again = decide(program, run.history)

    assert again == run.finish


@few
@given(tree=simulated.trees, seed=simulated.seeds)
def test_eviction_at_every_point_changes_nothing(tree, seed):
    """A new interpreter for each decision: the same events, the same decisions."""
    program = simulated.program(tree)

    kept = simulated.play(program, seed)
    evicted = simulated.play(program, seed, evicts=True)

    assert evicted.history == kept.history
    assert evicted.decisions == kept.decisions


@few
@given(tree=simulated.trees, seed=simulated.seeds)
def test_plan_of_undos_is_the_reverse_of_what_completed(tree, seed):
    """What is undone is what completed (or may have begun), newest first: read off the history without the core."""
    run = simulated.play(simulated.program(tree), seed)

    owed = simulated.owed_at_the_end(run.history)

    refused = any(isinstance(event, CancelRequested) and not event.compensate for event in run.history)
    if run.finish.status is Status.COMPLETED:
        assert run.plan == []
    elif run.plan or not refused:
        assert run.plan == owed


@few
@given(tree=simulated.trees, seed=simulated.seeds)
def test_undisturbed_run_comes_to_what_its_body_says(tree, seed):
    """In whatever order the world answers, the value and the success are those of the body read as a plain program."""
    run = simulated.play(simulated.program(tree), seed, may_cancel=False)

    finish = run.finish

    if simulated.fails(tree):
        assert finish.status in {Status.FAILED, Status.COMPENSATED}
        assert finish.failure is not None
    else:
        assert finish == Finish(
            status=Status.COMPLETED, value=simulated.asking.encode(simulated.value_of(tree))
        )


@few
@given(tree=simulated.trees, seed=simulated.seeds)
def test_completed_sub_workflow_tells_what_it_owes(tree, seed):
    """A child that completes hands its parent the same plan that it would have followed itself."""
    run = simulated.play(simulated.program(tree, is_child=True), seed)

    finish = run.finish

    if finish.status is Status.COMPLETED:
        assert [debt.position for debt in finish.owed] == simulated.owed_at_the_end(run.history)
