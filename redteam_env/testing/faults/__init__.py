"""A world of faults for tests: judge, agent, server, disk, memory and clock that fail when they are told to.

Each takes a :class:`When`, which says which calls fail: the n-th, all from the n-th on, or a share of them by a
seed. So a failure that a test found once, it finds again::

    from redteam_env.testing import faults

    judge = faults.FaultyJudge(judge, faults.When(at=3), "raises")
    agent = faults.FaultyAgent(agent, faults.When(rate=0.1, seed=7), "too_few")
    with faults.FaultyServer(when=faults.When(since=5), how="status_503") as server:
        ...  # an OpenAI-compatible server at server.url
    with faults.faulty_disk(tmp_path, faults.When(at=12)) as disk:
        ...  # the twelfth open, write, fsync, rename or mkdir under tmp_path finds the disk full
    with faults.faulty_memory(faults.When(at=500)):
        ...  # the five hundredth operation of torch finds no memory
    with faults.faulty_clock(faults.When(at=2), jump=-3600.0):
        ...  # the wall clock is put back by an hour

A loop over n = 1, 2, 3 ... until nothing fails any more tries every place in which something can go wrong::

    for n in itertools.count(1):
        with faults.faulty_disk(tmp_path, faults.When(at=n)) as disk:
            save(tmp_path / "mine")
        if not disk.when.failed:
            break

With ``crash=True`` the disk kills the process there and then, as a power cut does, instead of raising; a write is
left half done. What is to be killed runs in a process of its own.
"""

from redteam_env.testing.faults.clock import faulty_clock
from redteam_env.testing.faults.disk import FaultyDisk, faulty_disk
from redteam_env.testing.faults.memory import faulty_memory
from redteam_env.testing.faults.players import (
    AGENT_FAULTS,
    JUDGE_FAULTS,
    FaultError,
    FaultyAgent,
    FaultyJudge,
)
from redteam_env.testing.faults.server import SERVER_FAULTS, FaultyServer
from redteam_env.testing.faults.when import When

__all__ = [
    "AGENT_FAULTS",
    "JUDGE_FAULTS",
    "SERVER_FAULTS",
    "FaultError",
    "FaultyAgent",
    "FaultyDisk",
    "FaultyJudge",
    "FaultyServer",
    "When",
    "faulty_clock",
    "faulty_disk",
    "faulty_memory",
]
