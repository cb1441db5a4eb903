"""A tiny experiment from its first process to a verified report, and what Ctrl-C does to it."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from experiment_fakes import tiny_data, tiny_experiment, toml

from algorithms.studies.experiments.tasks import tasks
from algorithms.studies.games import SCHEMA
from redteam_env.cli.main import main

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
TINY = tiny_experiment()
PATIENCE_S = 900


def prepared(folder):
    (folder / "tiny.toml").write_text(toml(tiny_data()))
    return folder


def start(place, *words):
    command = [sys.executable, "-m", "redteam_env.cli.main", "experiment", "tiny.toml", *words]
    return subprocess.Popen(
        [*command, "--out", "run", "--workers", "1"],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    try:
        out, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    return process.returncode, out, err


def until(process, true):
    """Wait until something is true of a running command."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def workers(process):
    return psutil.Process(process.pid).children(recursive=True)


def gone(left):
    """Whether processes end by themselves within seconds."""
    _, alive = psutil.wait_procs(left, timeout=20)
    for process in alive:
        process.kill()
    return not alive


def records(place):
    """The rows of every stored table, and every JSON record without the clock."""
    folder = place / "run" / "records"
    found = {}
    for file in sorted(folder.rglob("*.*")):
        name = file.relative_to(folder).as_posix()
        if file.suffix == ".parquet":
            found[name] = pq.read_table(file).to_pylist()
        else:
            found[name] = {k: v for k, v in json.loads(file.read_text()).items() if k != "seconds"}
    return found


def written(place):
    return {x: x.stat().st_mtime_ns for x in (place / "run").rglob("*") if x.is_file()}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which the tiny experiment was run as a whole; not to be changed."""
    folder = prepared(tmp_path_factory.mktemp("experiment"))
    code, out, err = finish(start(folder))
    assert code == 0, err
    for part in TINY.parts:
        assert f"{part} is done." in out
    return folder


@pytest.fixture(scope="module")
def reported(place):
    """Its report; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        words = ["tiny.toml", "--out", "run", "--to", "report"]
        assert main(["experiment", "report", *words]) == 0
    return place / "report"


def test_every_task_of_every_part_is_done_and_nothing_is_left_half_written(place):
    wanted = {x.output for part in TINY.parts.values() for x in tasks(TINY, part)}
    assert {f"records/{name}" for name in records(place)} == wanted
    assert not [x for x in (place / "run").rglob("*") if "partial" in x.name]
    for name, record in records(place).items():
        if "/train/" in name or "/attack/" in name:
            assert record["steps"] == (1 if "best_response" in name else 2)
    found = records(place)
    attack = found["best_response/attack/shared-0.json"]["config"]
    assert attack["opponent"].endswith("runs/arms/shared/seed-0")
    frozen = found["arms/train/static-1.json"]["config"]
    assert frozen["opponent"].endswith("runs/arms/probe/seed-1")


def test_the_games_of_a_part_are_those_that_its_settings_ask_for(place):
    found = records(place)
    for name, checkpoints in (("base--1", 1), ("shared-0", 2)):
        kinds = Counter(x["kind"] for x in found[f"arms/measure/{name}.parquet"])
        assert kinds == {"suite": checkpoints * 2 * 2 * 8, "quiz": checkpoints * 4}
    cross = found["arms/cross/seed-0.parquet"]
    met = {(x["attacker"], x["defender"], x["attacker_seed"], x["defender_seed"]) for x in cross}
    both = (("base", -1), ("shared", 0), ("bipolicy", 0))
    pairs = {(a, d, s, t) for a, s in (*both, ("probe", 0)) for d, t in (*both, ("static", 0))}
    assert met == pairs | {(arm, arm, 0, 1) for arm in ("shared", "bipolicy")}
    assert len(cross) == len(met) * 2 * 8
    assert {x["step"] for x in cross} == {1, 2}
    response = found["best_response/respond/shared-0.parquet"]
    assert {(x["defender"], x["step"]) for x in response} == {("shared", 1)}


def test_the_same_suites_are_asked_of_every_defender_and_every_checkpoint(place):
    asked = {}
    for name, rows in records(place).items():
        for x in rows if name.startswith("arms/measure") else ():
            if x["kind"] == "suite":
                who = (x["defender"], x["defender_seed"], x["step"])
                asked.setdefault(who, []).append((x["suite"], x["split"], x["prompt"]))
    assert len(asked) == 1 + 3 * 2 * 2
    assert len({tuple(x) for x in asked.values()}) == 1


def test_the_same_command_again_does_nothing_twice(place):
    before = written(place)
    code, out, err = finish(start(place))
    assert code == 0, err
    assert written(place) == before
    counts = re.findall(r"^(\d+)/(\d+) starting$", out, re.MULTILINE)
    assert [a == b for a, b in counts] == [True] * len(TINY.parts)


def test_the_report_of_a_real_run_verifies(reported, capsys):
    assert main(["experiment", "verify", str(reported)]) == 0
    assert "Every verdict and every figure holds." in capsys.readouterr().out
    assert main(["experiment", "verify", str(reported), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"holds": True, "differences": []}


def change_figure(folder):
    file = folder / "arms" / "figures.json"
    figures = json.loads(file.read_text())
    figures["defenders"]["splits"]["train"]["primary"]["auc"]["shared"]["mean"] += 0.01
    file.write_text(json.dumps(figures))


def change_row(kind, column, value):
    def change(folder):
        file = folder / "arms" / "games.parquet"
        rows = pq.read_table(file).to_pylist()
        row = next(x for x in rows if x["kind"] == kind)
        row[column] = value(row[column])
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), file)

    return change


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (change_figure, r"arms/defenders/splits/train/primary/auc/shared/mean: [\d.]+ stored"),
        (change_row("suite", "refused", lambda x: not x), r"arms: '\w+-\d': .* was stored as \["),
        (change_row("quiz", "right", lambda x: not x), r"arms: the answer to '.*' was stored as"),
        (change_row("quiz", "prompt", lambda x: f"{x} x"), r"arms: the quiz has no question '"),
    ],
)
def test_one_changed_figure_verdict_or_answer_fails_the_verification(
    reported, tmp_path, capsys, change, line
):
    copy = shutil.copytree(reported, tmp_path / "copy")
    change(copy)
    assert main(["experiment", "verify", str(copy)]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert re.search(f"differs: {line}", shown), shown


@pytest.mark.parametrize("told", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_ends_every_process_and_the_same_command_goes_on_to_the_same_result(
    place, tmp_path, told
):
    number, wanted_code = told
    process = start(prepared(tmp_path), "--part", "rates")
    second = tmp_path / "run" / "runs" / "rates" / "scripted" / "seed-0" / "metrics.jsonl"
    until(process, second.exists)
    left = workers(process)
    assert left
    process.send_signal(number)
    if number == signal.SIGTERM:  # schedulers send it to every process
        for worker in left:
            worker.send_signal(number)
    code, out, err = finish(process)
    assert (code, "Traceback" in err) == (wanted_code, False), err
    assert "the same command goes on from here" in " ".join(out.split())
    assert gone(left)
    done = records(tmp_path)
    assert 2 <= len(done) < 6
    code, out, err = finish(start(tmp_path, "--part", "rates"))
    assert code == 0, err
    assert f"{len(done)}/6 starting" in out
    wanted = {name: x for name, x in records(place).items() if name.startswith("rates")}
    assert records(tmp_path) == wanted


@pytest.mark.parametrize("moment", ["before a worker is there", "while a worker starts"])
def test_ctrl_c_before_anything_was_done_ends_as_well(tmp_path, moment):
    process = start(prepared(tmp_path), "--part", "rates")
    if moment == "before a worker is there":
        until(process, (tmp_path / "run" / "experiment.json").exists)
    else:
        until(process, lambda: len(workers(process)) > 1)
    left = workers(process)
    process.send_signal(signal.SIGINT)
    code, _, err = finish(process)
    assert (code, "Traceback" in err) == (130, False), err
    assert gone(left)
    assert records(tmp_path) == {}


def test_workers_end_with_a_command_that_was_killed(tmp_path):
    process = start(prepared(tmp_path), "--part", "rates")
    until(process, (tmp_path / "run" / "runs").exists)
    left = workers(process)
    assert left
    process.kill()
    process.communicate()
    assert gone(left)
