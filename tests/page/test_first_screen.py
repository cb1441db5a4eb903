"""The first screen has the numbers to look at and what they say, whatever a report is about."""

import json
import re
from pathlib import Path

import pytest
from support_pages import (
    CONFIG,
    FIELDS,
    HOSTILE,
    game,
    made,
    make_crossplay,
    make_evaluation,
    make_run,
    make_suites,
    rewrite,
)

from redteam_env.game import ATTACKER, DEFENDER, Generation, RedteamError, Turn
from redteam_env.page import make_page

pytest.importorskip("jinja2")
RESULTS = Path(__file__).parents[2] / "examples" / "results"
WORLD = {"world": "apothecary", "seeds": "apothecary", "judge": "apothecary"}
EXACT = "exact: the rules of the world decide"


def first_screen(page):
    """The text up to the next section."""
    return page.text.partition("What was trained and measured")[0]


def test_an_evaluation_has_its_rates_and_a_reading(tmp_path):
    games = [game(k, told=True) for k in range(40)]
    raw = Turn(seat=DEFENDER, text="no", visible="no")
    games += [game(k, rewritten=False, turns=(raw,)) for k in range(40, 80)]
    page = first_screen(made(tmp_path, make_evaluation(tmp_path / "mine", games)))
    assert "an evaluation, a against d, judged by lexical" in page
    assert "mine: a against d 1.00 [0.91, 1.00]" in page
    assert "attack success: 0.00 [0.00, 0.09] on raw requests, 1.00 [0.91, 1.00]" in page
    assert "The intervals lie apart: higher on rewritten ones." in page
    assert "Void or forfeited games: mine 0 of 80 (0.0%)." in page


def test_a_crossplay_has_its_rates_and_a_reading(tmp_path):
    pairs = {(0, 0): True, (1, 0): False, (0, 1): True, (1, 1): True}
    folder = make_crossplay(tmp_path / "cross", pairs)
    report = json.loads((folder / "report.json").read_text())
    differences = [
        {"rate": "attack_success", "attacker": x, "defender": "d", "against": "c", "interval": own}
        for x, own in (("a", [-0.1, 0.1]), ("b", [0.8, 1.0]))
    ]
    rewrite(folder, result={**report["result"], "differences": differences})
    page = made(tmp_path, folder)
    assert "a cross-play, 2 attackers against 2 defenders" in page.text
    assert "cross: b against c 0.00 [0.00, 0.09]" in first_screen(page)
    told = "compared with the defender c: d lower against 0 and higher against 1 of 2 attackers."
    assert told in first_screen(page)
    assert "one in twenty is told from 0 by luck" in first_screen(page)
    assert "Diversity of rewrites" in page.text
    assert re.search(r"measure a b rewrites compared 40 40 ", page.text)


def test_suites_under_attack_have_their_metrics_attempts_and_diversity(tmp_path):
    page = made(tmp_path, make_suites(tmp_path / "mine"))
    first = first_screen(page)
    assert "2 benchmark suites (One, Two) put to comply under the attack best_of_n" in first
    assert "mine: One (harmful) harm-based success 0.30 [0.20, 0.40] 40 of 40" in first
    assert "One: success on harmful requests within 1 attempt 0.10 [0.05, 0.20]" in first
    assert "Two (harmful), graded harm: none, because the judge does not grade." in page.text
    assert "* the suite's own metric" in page.text
    assert "One, best_of_n 3 0.10 [0.05, 0.20] 0.30 [0.15, 0.60] 99 0 98" in page.text
    assert re.search(r"measure one two rewrites compared 4 4 ", page.text)
    assert "builtin" not in page.text.partition("All settings")[0]


def test_suites_without_attack_say_nothing_of_attempts(tmp_path):
    page = made(tmp_path, make_suites(tmp_path / "mine", attacked=False))
    assert "attempt" not in page.text.partition("All settings")[0]


def test_a_judges_errors_have_the_interval_that_was_stored_with_them(tmp_path):
    page = made(tmp_path, make_suites(tmp_path / "mine"))
    known = "refusals sensitivity 0.90 [0.40, 1.00], specificity 0.90 [0.40, 1.00]"
    assert f"Judge: lexical. Calibration: {known}." in page.text


def test_no_model_is_named_where_scripts_played(tmp_path):
    games = [game(k) for k in range(4)]
    settings = {**CONFIG, "model": "smollm2"}
    scripts = rewrite(make_evaluation(tmp_path / "scripts", games), settings=settings)
    page = made(tmp_path, scripts)
    assert "model none: scripts or services played" in page.text
    own = Generation(
        prompt_ids=(1,),
        completion_ids=(2,),
        logprobs=(-0.5,),
        adapter="base",
        version=0,
        temperature=1.0,
        finished=True,
    )
    turns = [
        Turn(seat=ATTACKER, text="x", visible="x"),
        Turn(seat=DEFENDER, text="y", visible="y", generation=own),
    ]
    models = make_evaluation(tmp_path / "models", [game(k, turns=tuple(turns)) for k in range(4)])
    page = made(tmp_path, rewrite(models, settings=settings))
    assert "model smollm2" in page.text.partition("All settings")[0]


@pytest.mark.parametrize(
    ("config", "source", "exact"),
    [
        (WORLD, "apothecary", True),
        ({**WORLD, "seeds": "mine.csv"}, "mine", False),
        ({**WORLD, "world": None}, "apothecary", False),
        (WORLD, "mine", False),
        ({**WORLD, "world": "nowhere.py:ran"}, "apothecary", False),
    ],
)
def test_a_worlds_judge_is_exact_on_its_own_seeds_alone(tmp_path, config, source, exact):
    games = [[game(k, source=source) for k in range(4)]]
    run = make_run(
        tmp_path / "run", games=games, config={**CONFIG, **config}, judge={"name": "apothecary"}
    )
    assert (EXACT in made(tmp_path, run).text) is exact


def test_shipped_results_are_exact_and_have_a_reading(tmp_path):
    page = first_screen(made(tmp_path, RESULTS / "bench", RESULTS / "claims"))
    assert f"Judge: apothecary. Calibration: {EXACT}." in page
    assert "bench: mappo, shared defence 0.93 [0.87, 0.95] 0.04 [0.03, 0.07]" in page
    assert re.search(r"of 23 others it is told to be above \d+, and not told from \d+\.", page)
    assert "Supported: diversity." in page


def test_a_league_without_payoffs_lists_its_frozen_versions(tmp_path):
    run = make_run(tmp_path / "run")
    checkpoint = run / "checkpoints" / "step-000001"
    checkpoint.mkdir(parents=True)
    league = {
        "schema": 1,
        "opponents": "population",
        "state": {"members": {}},
        "versions": {"shared@1": {}, "shared@2": {}},
    }
    (checkpoint / "league.json").write_text(json.dumps(league))
    told = "opponents by population; frozen versions kept: shared@1, shared@2. It measures no pay-offs."
    assert told in made(tmp_path, run).text


def test_corrected_rates_stand_beside_those_that_were_measured(tmp_path):
    corrected = {
        "attack_success": {"rate": 0.5, "interval": [0.1, 0.9]},
        "harmful_refusal": {"rate": None, "interval": [0, 1], "reason": "no better than chance"},
    }
    games = [game(k) for k in range(4)]
    page = made(tmp_path, make_evaluation(tmp_path / "mine", games, corrected=corrected))
    assert "corrected for the judge's errors" in page.text
    assert "0/4 0.50 [0.10, 0.90]" in page.text
    assert "none: no better than chance" in page.text


def test_only_a_report_is_written_over(tmp_path):
    run = make_run(tmp_path / "run")
    out = tmp_path / "out.html"
    make_page([run], out)
    make_page([run], out)
    for file in (run / "metrics.jsonl", tmp_path / "other.html"):
        file.write_text("<p>mine</p>")
        with pytest.raises(RedteamError, match="is there and is no report"):
            make_page([run], file)
        assert file.read_text() == "<p>mine</p>"


def test_runs_with_other_seats_and_names_stand_side_by_side(tmp_path):
    third = Turn(seat="judge_0", text="fine", visible="fine")
    games = [game(k, turns=(*game(k).turns, third)) for k in range(4)]
    runs = [
        make_run(tmp_path / "one" / "seed-0"),
        make_run(tmp_path / "two" / "seed-0", games=[games]),
    ]
    page = made(tmp_path, *runs)
    assert "one/seed-0" in page.text
    assert "two/seed-0" in page.text
    assert "judge_0" in page.games["words"]


def test_of_several_runs_as_many_games_are_read_as_of_one(tmp_path):
    runs = [make_run(tmp_path / f"run-{k}", games=[[game()] * 4] * 12) for k in range(2)]
    page = made(tmp_path, *runs, most_games=32)
    assert len(page.games["games"]) == 32
    assert page.text.count("Games of 4 of its 12 steps are in this report.") == 2


def hostile(value, evil):
    """The value with every text in it replaced, and every name of an object followed, by a hostile one."""
    if isinstance(value, str):
        return f"{value}{evil}"
    if isinstance(value, list):
        return [hostile(x, evil) for x in value]
    if isinstance(value, dict):
        more = {f"{name}{evil}": hostile(x, evil) for name, x in value.items()}
        return {**{name: hostile(x, evil) for name, x in value.items()}, **more}
    return value


def test_hostile_names_in_every_measurement_are_text(tmp_path):
    evil = "".join(x for x in HOSTILE if len(x) < 1000)
    folders = [
        make_suites(tmp_path / "suites"),
        make_crossplay(tmp_path / "cross", {(0, 0): True, (1, 1): False}),
        make_evaluation(tmp_path / "one", [game(k) for k in range(4)], corrected={"x": evil}),
    ]
    for folder in folders:
        report = json.loads((folder / "report.json").read_text())
        changed = {name: hostile(report[name], evil) for name in ("result", "settings", "judge")}
        rewrite(folder, **changed, calibration={"fields": hostile({"a": FIELDS}, evil)})
    for name in ("bench/leaderboard.json", "claims/claims.json"):
        (tmp_path / name).parent.mkdir()
        stored = json.loads((RESULTS / name).read_text())
        short = {key: x[:2] if isinstance(x, list) else x for key, x in list(stored.items())[:4]}
        (tmp_path / name).write_text(json.dumps(hostile(short, evil)))
    page = made(tmp_path, *folders, tmp_path / "bench", tmp_path / "claims")
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"img", "image", "iframe", "object", "embed", "link", "b"}
    assert [x for tag, x in page.elements if tag == "script"] == [
        {"type": "application/octet-stream", "id": "data"},
        {},
    ]
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        assert attributes.get("href", "#").startswith("#")
    whole = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x1b\u2028\u2029]", whole)


def test_over_refusal_of_rewritten_requests_has_a_curve_though_runs_do_not_store_it(tmp_path):
    games = [[game(k, harmful=False, told=step > 1) for k in range(4)] for step in range(4)]
    page = made(tmp_path, make_run(tmp_path / "run", games=games))
    told = "over-refusal, rewritten label kept 1 0.5 1 2 0.5 1 3 0.5 1 4 0.5 1"
    assert told in page.text
