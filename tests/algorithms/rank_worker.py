"""One of several processes that train together, its rank in the environment.

``rank_worker.py jobs FILE``: does the jobs in a JSON list one after the other, and prints for each a
line of JSON, ``{"steps": ...}`` or ``{"error": ...}``; last the names of its threads after the jobs, and
at exit. A job is a run's options; with ``table`` among them it is played by table players, and ``rank_1``
holds options that only rank 1 is given.
``rank_worker.py command ARGUMENT ...``: the command line, with the same judges and seeds.
"""

import atexit
import json
import os
import signal
import sys
from pathlib import Path

from table_game import players
from training_fakes import CallbackJudge, WordJudge, words_source

from agents.lora.config import WEIGHTS
from algorithms.training.config import TrainConfig
from algorithms.training.trainer import train
from redteam_env import register
from redteam_env.cli.main import main
from redteam_env.game import RedteamError
from redteam_env.protocols import AlgorithmState, Callback


class Lonely:
    """An algorithm that does not say that it trains in several processes."""

    from algorithms.reinforce_pp import ReinforcePPConfig as Config

    def __init__(self, config, *, policy, game, seed):
        pass

    def update(self, policy, batches):
        return {}

    def state(self):
        return AlgorithmState()


class Drifting(Lonely):
    """An algorithm that trains each process's weights in another way."""

    distributed = True

    def update(self, policy, batches):
        for tensor in policy.parameters("attacker"):
            tensor.data += float(os.environ["RANK"])
        return {}

    def load_state(self, state):
        pass


def second_call_on_rank_1(what):
    """Return a judge that does something when it is asked for the second time, on rank 1."""
    calls = []

    def before():
        calls.append(None)
        if len(calls) == 2 and os.environ.get("RANK") == "1":
            what()

    return CallbackJudge(before=before)


def absent():
    """A judge that rank 1 cannot be given."""
    if os.environ.get("RANK") == "1":
        raise RedteamError("There is no such judge on this machine.")
    return WordJudge()


def refuse():
    raise RedteamError("The judge went home.")


def press():
    signal.raise_signal(signal.SIGINT)


class StopsOnRank1(Callback):
    """Wants to end the run, in one process only, and a checkpoint, in all."""

    def on_start(self, run):
        self.run = run

    def on_update(self, step, row):
        self.run.save("mine")
        if os.environ.get("RANK") == "1":
            self.run.stop("rank 1 has seen enough")


def job(options):
    """Do a run; the players of a table run say two letters."""
    only = options.pop("rank_1", {})
    table = options.pop("table", False)
    chosen = {**options, **(only if os.environ.get("RANK") == "1" else {})}
    policy = players(WEIGHTS[chosen["arrangement"]], places=2) if table else None
    try:
        outcome = train(TrainConfig.from_flat(chosen), policy=policy)
    except RedteamError as error:
        return {"error": str(error)}
    except ZeroDivisionError:
        return {"crash": True}
    stopped = {"stopped": outcome.stopped} if outcome.stopped else {}
    return {"steps": outcome.steps, "finished": outcome.finished, **stopped}


def plug_in():
    """Register the doubles; most do something on rank 1 only."""
    register("judges", "words", WordJudge)
    register("judges", "absent", absent)
    register("judges", "failing", lambda: second_call_on_rank_1(refuse))
    register("judges", "crashing", lambda: second_call_on_rank_1(lambda: 1 / 0))
    register("judges", "vanishing", lambda: second_call_on_rank_1(lambda: os._exit(9)))
    register("judges", "pressed", lambda: second_call_on_rank_1(press))
    register("seeds", "words", words_source)
    register("callbacks", "stops", StopsOnRank1)
    register("algorithms", "lonely", Lonely)
    register("algorithms", "drifting", Drifting)


def tell_threads():
    """Print a line with the names of all threads, of torch's too; an empty list but on Linux."""
    tasks = Path("/proc/self/task")
    found = (
        [(task / "comm").read_text().strip() for task in tasks.iterdir()] if tasks.exists() else []
    )
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    plug_in()
    if sys.argv[1] == "command":
        sys.exit(main(sys.argv[2:]))
    atexit.register(tell_threads)
    for options in json.loads(Path(sys.argv[2]).read_text()):
        print(json.dumps(job(options)), flush=True)
    tell_threads()
