"""Work for the processes of the tests of Workers; it stands in a module because they import it."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from redteam_env.game import RedteamError


@dataclass(frozen=True)
class Job:
    """A piece of work that leaves the number of its process; ``does`` says what happens instead."""

    title: str
    needs: tuple[str, ...] = ()
    alone: bool = False
    does: str = ""

    @property
    def output(self):
        return f"{self.title}.txt"


def work(root, job):
    place = Path(root)
    assert all((place / name).is_file() for name in job.needs)
    if job.does == "fail":
        raise RedteamError(f"{job.title}: diverged")
    if job.does == "err":
        raise ZeroDivisionError("a fault")
    if job.does == "die":
        os._exit(1)
    while job.does in {"wait", "hang"}:
        (place / "waiting").touch()
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            if job.does == "wait":
                raise
            (place / "pressed").touch()
    (place / job.output).write_text(f"{os.getpid()} {os.environ['OMP_NUM_THREADS']}")
    return "done"


def wants_own(job):
    return job.alone
