"""Runs are coroutines, and the threads of a process carry them: any thread any run, one thread a run at a time.

A run that stays in a process alternates between a step and a commit. Were each run tied to a thread, each commit would
put a thread to sleep and wake it again, which costs more than a step. So one thread carries each of several runs up to
its next commit, flushes the commits together, and goes on with all of them, while the others sleep. (M:N threads, as in
GHC and Go; flat combining: Hendler, Incze, Shavit and Tzafrir, 2010.)

A thread brings a run and may leave before it is over: bells are only hints, and the row says who has the run. So while
all steps are quick, few threads carry more runs than there are threads, and each flush is for many. What keeps it safe
and fair:

- Before a step, unless those of its name have proven quick here, the thread leaves what else there is to another one.
  If there are more runs than threads then, runs are let go of, until each has a thread: as many steps are made at once
  as there are threads, and one that takes long, or waits for another run, holds up nobody.
- While there are more runs than threads, one of these is on guard: it takes over when a step that was thought quick has
  held up the others for a moment. Where all are held up, one is added to be on guard.
- Nobody carries on for longer than a slice while another thread could: brokers want their messages back some time.
- A thread that is interrupted from outside fails the one run that it has in hand, as if that had been its own.
- A commit is durable before the next piece of its run begins, as ever: a piece is resumed with the answer to it.
"""

from qwit_durable.engine.carrying.alone import carry_alone
from qwit_durable.engine.carrying.carriers import Carriers
from qwit_durable.engine.carrying.roster import Pieces

__all__ = ["Carriers", "Pieces", "carry_alone"]
