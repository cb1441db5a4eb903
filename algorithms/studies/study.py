"""Running a study as a command does: where its tasks run, and what a person is shown meanwhile."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from algorithms.studies.executors import ExecutorName, make_executor
from algorithms.studies.plans import with_plan
from algorithms.studies.pool import run_tasks
from algorithms.studies.tasks import Task, Work
from redteam_env.utils.console import progress_bar
from redteam_env.utils.heartbeat import Heartbeat

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended."""
JOBS = "jobs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where the tasks of a study run.

    Attributes:
        executor: By what.
        job: What a job is asked for.
        workers: Most tasks side by side.
    """

    executor: ExecutorName
    job: str
    workers: int


def run_study(
    root: Path,
    every: Sequence[Task],
    work: Work,
    where: Where,
    console: Console,
    *,
    code: str | None,
) -> bool:
    """Do what a study still needs, with a progress bar; without a terminal, a line a task and signs of life.

    Args:
        root: The study's directory, opened.
        every: Its tasks.
        work: Does one in another process.
        where: Where they run.
        console: Takes the lines.
        code: The Python that the plan stands in, which each task's process imports; ``None`` for none.

    Returns:
        Whether all is done; false after Ctrl-C.

    Raises:
        RedteamError: If a task fails, after those under way have ended.
    """
    executor = make_executor(where.executor, where.workers, where.job, root / JOBS)
    drawn = console.is_terminal
    with progress_bar(visible=drawn) as bar, Heartbeat(console.print, beats=not drawn) as alive:

        def report(title: str, done: int, total: int) -> None:
            bar(title, done, total)
            if not drawn:
                alive.say(f"{done}/{total} {title}")
            alive.doing(f"{done}/{total} tasks are done, the last {title}")

        if run_tasks(root, every, executor, partial(with_plan, code, work), report):
            return True
    console.print("Stopped by Ctrl-C; the same command goes on from here.")
    return False
