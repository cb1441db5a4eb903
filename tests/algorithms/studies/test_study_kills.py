"""Benchmarks and experiments that are killed with SIGKILL again and again end as those that were left alone.

REDTEAM_ENV_TEST_KILLS says how often each is killed at least; 6 times without it, and 30 for the figures in
the report. What was killed where is printed (``pytest -s``).
"""

import json
import os

import pytest
from experiment_fakes import tiny_data, toml
from killed import kill_until_done, run_and_kill
from training_fakes import contents, metrics

from redteam_env.randomness import generator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
KILLS = int(os.environ.get("REDTEAM_ENV_TEST_KILLS", "6"))
CLOCKS = {"seconds", "peak_memory_gb"}
LONGEST_S = 8.0
MOST_OPERATIONS = 130
BENCH = """
bench --algorithms reinforce_pp --arrangements bipolicy --seeds 1 --budget 16 --games 8 --workers 1
--suite-games 8 --panel-games 8 --cross-games 8 --response-budget 0 --defence-suites apothecary_alias
--panel-attackers base --panel-defenders base
"""


def experiment(folder):
    """Return the command of an experiment of five tasks."""
    data = tiny_data()
    arms = data["parts"]["arms"]
    both = ["base", "shared"]
    arms |= {"seeds": [0], "crossplay": {"attackers": both, "defenders": both}}
    arms["arms"] = {x: arms["arms"][x] for x in both}
    del arms["contrasts"]
    data |= {"claims": {}, "parts": {"arms": arms}}
    (folder / "tiny.toml").write_text(toml(data))
    return ["experiment", str(folder / "tiny.toml"), "--workers", "1"]


STUDIES = {"bench": lambda _: BENCH.split(), "experiment": experiment}


def without_clocks(record):
    if not isinstance(record, dict):
        return record
    return {name: without_clocks(x) for name, x in record.items() if name not in CLOCKS}


def left(out):
    """All that a study leaves but what the clock says; nothing half written."""
    assert not list(out.rglob(".*"))
    records = [x for x in sorted((out / "records").rglob("*")) if x.is_file()]
    tables = {str(x.relative_to(out)): x.read_bytes() for x in records if x.suffix == ".parquet"}
    figures = {
        str(x.relative_to(out)): without_clocks(json.loads(x.read_bytes()))
        for x in records
        if x.suffix == ".json"
    }
    runs = [x.parent for x in sorted(out.rglob("metrics.jsonl"))]
    rows = {str(x.relative_to(out)): metrics(x) for x in runs}
    files = {str(x.relative_to(out)): contents(x, "checkpoints", "episodes") for x in runs}
    report = {
        name: (out / name).read_bytes()
        for name in ("bench.json", "experiment.json", "report/games.parquet")
        if (out / name).exists()
    }
    assert len(tables) >= 3
    assert runs
    return tables, figures, rows, files, report


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_that_is_killed_again_and_again_ends_as_one_that_was_left_alone(tmp_path, study):
    words = STUDIES[study](tmp_path)
    assert run_and_kill(words, tmp_path / "whole") == 0, (tmp_path / "whole" / "said").read_text()
    whole = left(tmp_path / "whole" / "out")
    rng = generator((0, "kills", study))
    at_moments = inside = number = 0
    while at_moments + inside < KILLS:
        folder = tmp_path / f"killed-{number}"
        more = kill_until_done(words, folder, rng, longest_s=LONGEST_S, most=MOST_OPERATIONS)
        assert left(folder / "out") == whole
        at_moments, inside, number = at_moments + more[0], inside + more[1], number + 1
    print(f"{study}: {at_moments} kills at a moment, {inside} in file operations, {number} resumed")
