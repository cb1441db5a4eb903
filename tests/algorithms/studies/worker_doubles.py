"""Work for the processes of the tests of Workers; it stands in a module because they import it."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """A piece of work that leaves the number of its process."""

    title: str
    needs: tuple[str, ...] = ()
    alone: bool = False
    waits: bool = False

    @property
    def output(self):
        return f"{self.title}.txt"


def prepare():
    """Stand for what sets a worker up, without torch."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def work(root, job):
    if job.waits:
        Path(root, "waiting").touch()
        while True:
            time.sleep(0.05)
    Path(root, job.output).write_text(str(os.getpid()))
    return "done"


def wants_own(job):
    return job.alone
