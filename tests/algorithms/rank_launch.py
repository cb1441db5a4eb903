"""Starts processes that train together, and compares what they left with the work of one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from safetensors.torch import load_file
from training_fakes import metrics

WORKER = Path(__file__).with_name("rank_worker.py")


def environments(world):
    """The environment of each process, as a launcher would set it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_PORT": port}
    shared = {name: str(value) for name, value in shared.items()}
    path = os.pathsep.join(map(str, (WORKER.parent, WORKER.parents[1])))
    own = {**os.environ, **shared, "MASTER_ADDR": "127.0.0.1", "PYTHONPATH": path}
    return [{**own, "RANK": str(k), "LOCAL_RANK": str(k)} for k in range(world)]


def launch(*arguments, world=2):
    """Run the worker in processes that train together; exit code, output and errors of each."""
    command = [sys.executable, str(WORKER), *map(str, arguments)]
    started = [
        subprocess.Popen(
            command, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for own in environments(world)
    ]
    try:
        said = [process.communicate(timeout=240) for process in started]
    finally:
        for process in started:
            process.kill()
    codes = [process.returncode for process in started]
    return codes, [out for out, _ in said], [error for _, error in said]


def launch_jobs(file, jobs, world=2):
    """What each process printed for each job of a mapping; its group has to end before it does."""
    file.write_text(json.dumps(list(jobs.values())))
    codes, outs, errors = launch("jobs", file, world=world)
    assert codes == [0] * world, errors
    found = [[json.loads(line) for line in out.splitlines()] for out in outs]
    for own in found:
        at_work, at_exit = ([x for x in names if "gloo" in x] for names in own[-2:])
        assert at_work or sys.platform != "linux"
        assert not at_exit, "a thread that asks for the interpreter now aborts the process"
    return {name: [own[k] for own in found] for k, name in enumerate(jobs)}


def weights(run, step):
    """All tensors of a checkpoint, the optimiser's too, by file and name."""
    folder = Path(run) / f"checkpoints/step-{step:06d}"
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and not_text(file)]
    assert files
    return {
        f"{file.relative_to(folder)}:{name}": tensor
        for file in files
        for name, tensor in load_file(file).items()
    }


def not_text(file):
    return file.suffix not in {".json", ".jinja", ".md"}


def distance(one, two):
    """The largest difference between equally named tensors."""
    assert one.keys() == two.keys()
    return max(float((one[name] - two[name]).abs().max()) for name in one)


def plays(run):
    """What was said in all games, in order, and what it paid."""
    return [
        (
            game["path"],
            game["seed"]["id"],
            game["rewards"],
            [turn["text"] for turn in game["turns"]],
        )
        for file in sorted((Path(run) / "episodes").iterdir())
        for game in map(json.loads, file.read_text().splitlines())
    ]


def metric_distance(run, other, *, but=()):
    """The largest difference between two runs' metrics; both log the same ones."""
    worst = 0.0
    for one, two in zip(metrics(run), metrics(other), strict=True):
        assert one.keys() == two.keys()
        for name in one.keys() - set(but):
            assert (one[name] is None) == (two[name] is None), name
            worst = max(worst, abs((one[name] or 0) - (two[name] or 0)))
    return worst
