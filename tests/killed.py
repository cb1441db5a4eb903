"""Commands that are killed with SIGKILL at seeded moments, with every process that they started."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from unittest.mock import patch

import numpy as np

from redteam_env.cli.main import main
from redteam_env.testing import faults

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["algorithms.studies.preloaded", "algorithms.cli.bench", __name__])
PATIENCE_S = 60


def _run(words: Sequence[str], folder: Path, fails_at: int | None, _alive: Connection) -> None:
    """Run a command whose tasks' processes are forked from it, so that imports are not paid for again."""
    with (folder / "said").open("a") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    fork = multiprocessing.get_context("fork")
    when = faults.When(at=fails_at)
    with (
        patch.object(multiprocessing, "get_context", lambda _: fork),
        faults.faulty_disk(folder / "out", when, crash=True),
    ):
        sys.exit(main([*words, "--out", str(folder / "out")]))


def run_and_kill(
    words: Sequence[str], folder: Path, *, after_s: float | None = None, inside: int | None = None
) -> int:
    """Run a command that writes to ``folder / "out"``, and kill it.

    No process of it is left when this returns.

    Args:
        words: The command.
        folder: What it says is in the file ``said`` in it.
        after_s: Kill it after so many seconds.
        inside: Kill whichever of its processes does the n-th operation on a file, in the middle of it.

    Returns:
        The exit code of the command, negative if it was killed.
    """
    folder.mkdir(exist_ok=True)
    ours, theirs = SERVER.Pipe(duplex=False)
    process = SERVER.Process(target=_run, args=(tuple(words), folder, inside, theirs))
    process.start()
    theirs.close()
    process.join(after_s)
    process.kill()
    process.join()
    # every process that it started has the other end of the pipe, too: it is closed when all are gone
    assert ours.poll(PATIENCE_S), f"a process outlives {' '.join(words)}"
    ours.close()
    assert process.exitcode is not None
    return process.exitcode


def kill_until_done(
    words: Sequence[str], folder: Path, rng: np.random.Generator, *, longest_s: float, most: int
) -> tuple[int, int]:
    """Run a command, kill it, and give it again until it has done everything.

    Args:
        words: The command; given again, it goes on.
        folder: As :func:`run_and_kill`.
        rng: Draws when it is killed.
        longest_s: It is killed before so many seconds.
        most: The number of the last operation on a file in which it is killed.

    Returns:
        How often it was killed at a moment, and how often inside an operation on a file.
    """
    at_moments = inside = 0
    while True:
        if rng.random() < 0.5:
            code = run_and_kill(words, folder, after_s=rng.uniform(0.05, longest_s))
            at_moments += code == -signal.SIGKILL
        else:
            code = run_and_kill(words, folder, inside=int(rng.integers(1, most)))
            inside += code != 0
        said = (folder / "said").read_text()
        assert code in {0, 2, -signal.SIGKILL}, said
        # a task whose process was killed is done once more, and was killed again
        assert code != 2 or "its process ended by itself, twice" in said, said
        if code == 0:
            return at_moments, inside
