"""The benchmark as a whole, by real processes: it runs, goes on where it was cut, and verifies."""

import json

import pytest

from redteam_env.cli.main import main

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

SIZES = "--seeds 1 --budget 16 --games 8 --suite-games 8 --panel-games 8 --cross-games 8"
SMALL = [
    *("--algorithms", "reinforce_pp", "--arrangements", "bipolicy,defender_only", *SIZES.split()),
    *("--response-budget", "8", "--suites", "apothecary_quiz"),
    *("--defence-suites", "apothecary_alias,apothecary_split"),
    *("--panel-attackers", "base", "--panel-defenders", "base,half_trained"),
]


def test_a_small_benchmark_from_start_to_verified_leaderboard(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *SMALL]) == 0
    printed = capsys.readouterr()
    assert "reinforce_pp, bipolicy" in printed.out
    report = tmp_path / "runs" / "bench" / "report"
    board = json.loads((report / "leaderboard.json").read_text())
    assert [x["label"] for x in board["cells"]].count("base") == 1
    cost = next(x["cost"] for x in board["cells"] if x["trained"])
    assert cost["games"]["by_seed"] == [16]
    assert cost["tokens"]["by_seed"][0] > 0
    assert cost["peak_memory_gb"]["mean"] > 0.1
    gaps = [x["scores"].get("best_response_gap") for x in board["cells"]]
    assert all(gaps)  # over the base, where only a defender was trained
    assert len(gaps) == 3
    for file in report.iterdir():
        assert str(tmp_path).encode() not in file.read_bytes()

    assert main(["bench", "verify", str(report / "leaderboard.json")]) == 0
    # what is done is not done again; what is lost is made again, equal
    kept = {x: x.stat().st_mtime_ns for x in (tmp_path / "runs/bench/records").rglob("*.*")}
    lost = next(x for x in kept if x.parent.name == "measure")
    before = (report / "leaderboard.json").read_bytes()
    lost.unlink()
    assert main(["bench", *SMALL, "--json"]) == 0
    after = {x: x.stat().st_mtime_ns for x in (tmp_path / "runs/bench/records").rglob("*.*")}
    assert {x for x in kept if after[x] != kept[x]} == {lost}
    assert (report / "leaderboard.json").read_bytes() == before
    assert main(["bench", *SMALL, "--seeds", "2"]) == 2
    assert "another manifest" in capsys.readouterr().err
