"""Who carries which runs, whatever the order in which threads get on: nobody is forgotten, nobody waits in vain."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from qwit_durable.engine.carrying.pace import Pace
from qwit_durable.engine.carrying.roster import Carrier, Next, Pieces, Rider, Roster


def _pieces() -> Pieces[None]:
    yield from ()


class _Brisk(Pace):
    """A pace that is as the test says."""

    brisk = False
    held_up: str | None = None

    @property
    def is_brisk(self) -> bool:
        return self.brisk

    def holds_up(self, name: str) -> None:
        self.held_up = name


class Carrying(RuleBasedStateMachine):
    """Threads as they are on their way, one move after another, in any order.

    A thread is in one of `deciding`, `asleep`, `flushing`, `carrying` (a run between two writes) and `blocked` (in a
    step that does not end before the test lets it).
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.pace = _Brisk()
        self.roster = Roster(self.pace, lambda: self.now)
        self.at: dict[Carrier, str] = {}
        self.rider_of: dict[Carrier, Rider] = {}
        self.writes_left: dict[Rider, int] = {}
        #: The threads that look now and then while they sleep: they were on guard when they fell asleep.
        self.looking: set[Carrier] = set()
        self.was_interrupted = False
        self.slow: set[Carrier] = set()

    # -- what may happen ---------------------------------------------------------------------------------------

    @rule(runs=st.integers(1, 4), writes=st.integers(1, 6))
    def bring(self, writes: int, runs: int = 1) -> None:
        riders = [Rider(_pieces()) for _ in range(runs)]
        self.writes_left |= dict.fromkeys(riders, writes)
        self._carries(self.roster.enter(*riders))
        self._relieve()

    @rule(runs=st.integers(3, 6))
    def bring_a_crowd(self, runs: int) -> None:
        """Several quick runs, of which most threads have left already."""
        self.pace.brisk = True
        for _ in range(runs):
            self.bring(writes=6)
            for _ in range(3):
                for me in [
                    me for me in self.at if self.at[me] != "flushing" and me is not self.roster.holder
                ]:
                    self._move(me)

    @rule(brisk=st.booleans())
    def change_pace(self, brisk: bool) -> None:
        self.pace.brisk = brisk

    @rule(seconds=st.sampled_from([0.1, 2.0]))
    def let_time_pass(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.at)
    @rule(data=st.data())
    def move(self, data: st.DataObject) -> None:
        self._move(data.draw(st.sampled_from(list(self.at))))

    @precondition(lambda self: "carrying" in self.at.values())
    @rule(data=st.data(), thought_quick=st.booleans())
    def come_to_a_step_that_blocks(self, data: st.DataObject, thought_quick: bool) -> None:
        self._block(data.draw(st.sampled_from(self._that_are("carrying"))), thought_quick=thought_quick)

    @rule(times=st.integers(1, 5), thought_quick=st.booleans())
    def come_to_one_step_after_another_that_blocks(self, times: int, thought_quick: bool) -> None:
        """Whoever carries on is held up, and then the next one."""
        for _ in range(times):
            for _ in range(3):
                for me in self._that_are("deciding", "flushing", "asleep"):
                    self._move(me)
                self._tick()
            for me in self._that_are("carrying")[:1]:
                self._block(me, thought_quick=thought_quick)

    def _that_are(self, *at: str) -> list[Carrier]:
        return [me for me, where in self.at.items() if where in at]

    def _block(self, me: Carrier, *, thought_quick: bool) -> None:
        rider = self.rider_of[me]
        if rider.rests:
            return
        if not thought_quick:
            self.pace.brisk = False
            is_here = self.roster.has_thread_for(rider, me)
            self._relieve()
            if not is_here:
                self.writes_left[rider] = 1  # which lets go of it
                return
            self.slow.add(me)
        me.step = "a step"
        self.at[me] = "blocked"

    @precondition(lambda self: "blocked" in self.at.values())
    @rule(data=st.data())
    def let_a_step_end(self, data: st.DataObject) -> None:
        self._end_step(data.draw(st.sampled_from(self._that_are("blocked"))))

    @rule()
    def guard_looks(self) -> None:
        self._tick()

    @precondition(lambda self: self.at)
    @rule(data=st.data())
    def interrupt(self, data: st.DataObject) -> None:
        me = data.draw(st.sampled_from(list(self.at)))
        for rider in self.roster.break_off(me):
            del self.writes_left[rider]
        self.slow.discard(me)
        self.was_interrupted = True
        del self.at[me]
        self.rider_of.pop(me, None)
        self._relieve()

    # -- how threads get on ------------------------------------------------------------------------------------

    def _carries(self, me: Carrier) -> None:
        assert me.rider is not None
        self.at[me], self.rider_of[me] = "carrying", me.rider

    def _relieve(self) -> None:
        if self.roster.calls_relief():
            self.at[self.roster.enter()] = "deciding"

    def _tick(self) -> None:
        for me in [me for me in self.looking if self.at.get(me) == "asleep" and me.bell.locked()]:
            if self.roster.takes_over(me):
                me.bell.acquire(blocking=False)
                self.at[me] = "deciding"

    def _end_step(self, me: Carrier) -> None:
        me.step = None
        self.slow.discard(me)
        self.at[me] = "carrying"

    def _move(self, me: Carrier) -> None:
        match self.at[me]:
            case "carrying":
                rider = self.rider_of.pop(me)
                self.at[me] = "deciding"
                if self.writes_left[rider]:
                    self.writes_left[rider] -= 1
                    self.roster.waits(rider, me)
                else:
                    self._over(rider, me)
            case "flushing":
                self.at[me] = "deciding"
                self.roster.is_answered(me)
            case "deciding":
                self._decide(me)
            case "asleep" if me.bell.acquire(blocking=False):
                if me in self.roster.asleep:
                    self._sleeps(me)
                elif me.leaves:
                    del self.at[me]
                else:
                    self.at[me] = "deciding"
            case _:
                """It is blocked, or asleep."""

    def _sleeps(self, me: Carrier) -> None:
        self.at[me] = "asleep"
        self.looking.discard(me)
        if self.roster.is_on_guard(me):
            self.looking.add(me)

    def _over(self, rider: Rider, me: Carrier) -> None:
        del self.writes_left[rider]
        self.roster.is_over(rider, me)

    def _decide(self, me: Carrier) -> None:
        todo = self.roster.next(me)
        if todo is Next.LEAVE:
            del self.at[me]
        elif todo is Next.SLEEP:
            self._sleeps(me)
        elif me.rider is not None:
            self._carries(me)
            self._relieve()
        else:
            assert me.batch
            self.at[me] = "flushing"
            self._relieve()

    # -- what always holds -------------------------------------------------------------------------------------

    @invariant()
    def all_are_counted(self) -> None:
        leaving = [me for me, at in self.at.items() if at == "asleep" and me.leaves]
        assert self.roster.threads == len(self.at) - len(leaving)
        assert self.roster.riders == len(self.writes_left)

    @invariant()
    def each_run_is_in_one_place(self) -> None:
        places = [
            *self.roster.ready,
            *self.roster.waiting,
            *self.rider_of.values(),
            *(rider for me in self.at for rider in me.batch),
        ]
        assert sorted(map(id, places)) == sorted(map(id, self.writes_left))

    @invariant()
    def as_many_slow_steps_are_made_as_threads_were_brought(self) -> None:
        brought = [me for me in self.at if not me.is_relief]
        assert self.was_interrupted or len(self.slow) <= len(brought)

    @invariant()
    def a_thread_that_holds_is_awake(self) -> None:
        assert self.roster.holder is None or self.roster.holder in self.at
        assert self.roster.holder not in self.roster.asleep

    def teardown(self) -> None:
        """Whatever is blocked stays so: all other runs come to their end. Then the rest do, and all threads leave."""
        self._settle()
        assert set(self.writes_left) == {self.rider_of[me] for me in self._that_are("blocked")}
        for me in self._that_are("blocked"):
            self._end_step(me)
        self._settle()
        assert not self.writes_left
        assert not self.at

    def _settle(self) -> None:
        for _ in range(40 + 20 * len(self.writes_left)):
            for me in list(self.at):
                if me in self.at:
                    self._move(me)
            self._tick()


Carrying.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestCarrying = Carrying.TestCase
