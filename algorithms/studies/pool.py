"""Doing a study's tasks, side by side, each once everything it needs exists.

What exists is done, so the same call goes on where the last one ended. Where tasks run is the
executor's business (:mod:`algorithms.studies.executors`); a task whose process dies is done once more.
"""

import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from algorithms.studies.executors import DiedError, Executor, Job
from algorithms.studies.tasks import DONE, Task, Work
from redteam_env.game import RedteamError
from redteam_env.utils.interrupts import heard

_LOOK_S = 0.1
"""How often it is looked whether a task ended or Ctrl-C was pressed."""
_TRIES = 2
"""How often a task is begun whose process dies."""
Report = Callable[[str, int, int], None]


def run_tasks(
    root: Path, every: Sequence[Task], executor: Executor, work: Work, report: Report
) -> bool:
    """Do what is not done yet.

    Args:
        root: Where outputs go.
        every: All tasks, in the order in which they are to be tried.
        executor: Where they run.
        work: Does one task: a function of a module, or a ``functools.partial`` of one.
        report: Called as ``report(what was just done, done, total)``.

    Returns:
        Whether all is done; false after Ctrl-C. Finished tasks are kept, a run that was being
        trained goes on from its last step.

    Raises:
        RedteamError: If a task fails, or its process dies twice; after those under way have ended.
    """
    waiting = [task for task in every if not (root / task.output).is_file()]
    report("starting", len(every) - len(waiting), len(every))
    if not waiting:
        return True
    with executor, heard(signal.SIGINT, partial(_answer_ctrl_c, executor)) as pressed:
        pool = _Pool(
            root,
            executor,
            work,
            waiting,
            lambda x, left: report(x, len(every) - left, len(every)),
            pressed=pressed,
        )
        pool.run()
    if pressed and (pool.failure is None or isinstance(pool.failure, KeyboardInterrupt)):
        return False
    if pool.failure is not None:
        raise pool.failure
    if waiting:
        raise RedteamError(f"{waiting[0].title} needs files that nothing makes.")
    return True


class _Pool:
    """Tasks that wait, and those under way.

    Args:
        root: Where outputs go.
        executor: Where tasks run.
        work: Does one.
        waiting: What is to be done, in order.
        say: Called as ``say(what was just done, how many are left)``.
        pressed: Holds something once Ctrl-C was pressed.
    """

    def __init__(
        self,
        root: Path,
        executor: Executor,
        work: Work,
        waiting: list[Task],
        say: Callable[[str, int], None],
        *,
        pressed: Sequence[int],
    ) -> None:
        self._root = root
        self._executor = executor
        self._work = work
        self._waiting = waiting
        self._say = say
        self._pressed = pressed
        self._left = len(waiting)
        self._running: dict[Task, Job] = {}
        self._deaths: Counter[Task] = Counter()
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Do everything, until Ctrl-C was pressed or something failed."""
        told = False
        while True:
            if self.failure is None and not self._pressed:
                self._start()
            if not self._running:
                return
            if self._pressed and not told:
                self._executor.stop()
                self._say("Ctrl-C: finishing the current steps; again to stop now", self._left)
                told = True
            ended = [task for task, job in self._running.items() if job.done()]
            for task in ended:
                self._end(task, self._running.pop(task))
            if not ended:
                time.sleep(_LOOK_S)

    def _start(self) -> None:
        for task in list(self._waiting):
            if len(self._running) >= self._executor.count:
                return
            if all((self._root / name).is_file() for name in task.needs):
                self._waiting.remove(task)
                self._running[task] = self._executor.submit(self._work, task)

    def _end(self, task: Task, job: Job) -> None:
        try:
            finished = job.result() == DONE
        except DiedError as error:
            self._died(task, error)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - raised when all have ended
            self.failure = self.failure or error
        else:
            self._left -= finished
            if finished:
                self._say(task.title, self._left)

    def _died(self, task: Task, error: DiedError) -> None:
        if self._pressed:  # the executor ended it
            return
        self._deaths[task] += 1
        if self._deaths[task] < _TRIES:
            self._say(f"{task.title}: its process died, so it is done once more", self._left)
            self._waiting.insert(0, task)
        elif self.failure is None:
            self.failure = RedteamError(
                f"{task.title}: its process ended by itself, twice ({error}); out of memory, perhaps. "
                "What was done is kept. Run the same command again, with fewer --workers if it "
                "happens again."
            )
            self.failure.__cause__ = error


def _answer_ctrl_c(executor: Executor, pressed: Sequence[int]) -> None:
    """End every task at once at the second Ctrl-C, and raise as usual.

    The first is handed on by the loop: here a process may be just being started, and would miss it.
    """
    if len(pressed) > 1:
        executor.kill()
        raise KeyboardInterrupt
