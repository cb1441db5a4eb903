"""Work for the processes of the tests of the pool; it stands in a module because they import it."""

import os
import signal
import time
from pathlib import Path

from redteam_env.game import RedteamError
from redteam_env.registry import names

WAIT, HANG, FAIL, ERR, DIE, DIE_ONCE, LATE = (
    "wait",
    "hang",
    "fail",
    "err",
    "die",
    "die_once",
    "late",
)


def work(root, task):
    """Leave the number of the process; the task's kind says what happens instead."""
    place = Path(root)
    assert all((place / name).is_file() for name in task.needs)
    if task.kind == FAIL:
        raise RedteamError(f"{task.arm}: diverged")
    if task.kind == ERR:
        raise ZeroDivisionError("a fault")
    if task.kind == DIE or (task.kind == DIE_ONCE and not (place / "died").exists()):
        (place / "died").touch()
        os._exit(1)
    if task.kind == LATE and not (place / "late").exists():
        (place / "late").touch()
        os.kill(os.getpid(), signal.SIGUSR2)  # as Slurm does when a job's time is over
    while task.kind in {WAIT, HANG}:
        (place / "waiting").touch()
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            if task.kind == WAIT:
                raise
            (place / "pressed").touch()
    file = place / task.output
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{os.getpid()} {os.environ['OMP_NUM_THREADS']}")
    return "done"


def registered(root, task):
    """Leave the names of the algorithms that this process knows."""
    file = Path(root) / task.output
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(" ".join(names("algorithms")))
    return "done"
