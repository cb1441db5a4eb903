"""A report says what the directories say, holds no text that it should not, and runs none of it."""

import json
import random
import re
from pathlib import Path

import pytest
from support_pages import CONFIG, HOSTILE, game, made, make_evaluation, make_run

from redteam_env.cli.main import main
from redteam_env.game import RedteamError
from redteam_env.page import make_page

pytest.importorskip("jinja2")
RESULTS = Path(__file__).parents[2] / "examples" / "results"


def everywhere(value):
    """Every text in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, own in value.items():
            yield from (key, *everywhere(own))
    elif isinstance(value, list):
        for own in value:
            yield from everywhere(own)


def test_the_page_says_what_was_trained_on_what(tmp_path):
    page = made(tmp_path, make_run(tmp_path / "mine"))
    assert "reinforce_pp trained one adapter for both roles of the model tiny" in page.text
    assert "4 of 4 steps of 4 games, on the seeds mine, judged by lexical" in page.text
    assert "for smoke runs only" in page.text


def test_a_directory_that_is_named_twice_is_read_once(tmp_path):
    run = make_run(tmp_path / "mine")
    places = [run, run.parent / "." / run.name, run / ".." / run.name]
    assert make_page(places, tmp_path / "page.html").sources == ("mine",)


def test_intervals_that_lie_apart_tell_of_a_change_and_others_do_not(tmp_path):
    often, never = [game(k, told=True) for k in range(40)], [game(k) for k in range(40)]
    page = made(tmp_path, make_run(tmp_path / "fell", games=[often, never]))
    assert "attack success (rewritten): 1.00 [0.91, 1.00] in the first step" in page.text
    assert "The intervals lie apart: it fell." in page.text
    small = made(tmp_path, make_run(tmp_path / "small", games=[often[:2], never[:2]]))
    assert "it fell" not in small.text
    assert "these games do not tell whether it changed" in small.text


def test_evaluations_of_the_same_games_are_compared_game_by_game(tmp_path):
    often, never = ([game(k, text=f"words {k}", told=x) for k in range(40)] for x in (True, False))
    places = (make_evaluation(tmp_path / "old", often), make_evaluation(tmp_path / "new", never))
    page = made(tmp_path, *places)
    assert "new less old is -1.00" in page.text
    assert "below 0: lower on these games" in page.text
    same = made(tmp_path, places[0], make_evaluation(tmp_path / "again", often))
    assert "The interval holds 0: the two are not told apart." in same.text


def test_runs_stand_side_by_side_with_what_differs(tmp_path):
    first = make_run(tmp_path / "first")
    second = make_run(tmp_path / "second", config={**CONFIG, "arrangement": "bipolicy"})
    page = made(tmp_path, first, second)
    assert f"What differs: 1 of {len(CONFIG)} settings" in page.text


@pytest.mark.parametrize("show_text", [True, False])
def test_hostile_text_in_every_field_is_text(tmp_path, show_text):
    texts = [x for x in HOSTILE if len(x) < 1000]
    games = [game(k, text=text) for k, text in enumerate(HOSTILE)]
    evil = "".join(texts)
    games.append(
        game(99, seed=game(text=evil, source=evil).seed, void=f"judge error: {evil}", path=(evil,))
    )
    rows = [{"step": 0, f"eval/{evil}": 0.5, f"game/form_{evil}": 1.0, evil: 2.0}]
    config = {**CONFIG, **{f"{name}{evil}": evil for name in ("a", "b")}, "algorithm": evil}
    run = make_run(
        tmp_path / "<b>run", games=[games, games], rows=rows, config=config, written=evil
    )
    page = made(tmp_path, run, show_text=show_text)
    scripts = [attributes for tag, attributes in page.elements if tag == "script"]
    assert scripts == [{"type": "application/octet-stream", "id": "data"}, {}]
    allowed = {"html", "head", "body", "meta", "title", "style", "script", "a", "header", "p", "h1"}
    allowed |= {
        "nav",
        "ul",
        "li",
        "main",
        "section",
        "h2",
        "h3",
        "div",
        "table",
        "caption",
        "thead",
    }
    allowed |= {
        "tbody",
        "tr",
        "th",
        "td",
        "figure",
        "figcaption",
        "svg",
        "path",
        "text",
        "polyline",
    }
    allowed |= {
        "circle",
        "details",
        "summary",
        "noscript",
        "form",
        "label",
        "input",
        "select",
        "button",
    }
    allowed |= {"ol", "span", "article", "footer"}
    assert {tag for tag, _ in page.elements} <= allowed
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], tag
        assert not {"src", "srcset", "data", "action"} & attributes.keys(), tag
        assert attributes.get("href", "#").startswith("#")
    whole = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x1b\u2028\u2029]", whole)
    assert "49" not in "".join(re.findall(r"\{\{.*?\}\}", whole))
    assert not [x for x in everywhere(page.games) if re.search("[\u202a-\u202e\x1b]", x)]


def test_only_the_own_style_and_script_are_allowed(tmp_path):
    made(tmp_path, make_run(tmp_path / "mine"))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "http" not in page.replace("http-equiv", "").partition("<main")[0]


def test_what_players_wrote_is_not_in_the_file_unless_asked_for(tmp_path):
    run = make_run(
        tmp_path / "mine", games=[[game(text="secret words", void="judge error: secret words")]]
    )
    page = made(tmp_path, run)
    assert "secret" not in "".join(everywhere(page.games)) + page.text
    assert "is not in this file" in page.text
    shown = made(tmp_path, run, show_text=True)
    assert "thought secret words" in list(everywhere(shown.games))
    assert "shown only when asked for" in shown.text


def test_one_real_seed_among_invented_ones_keeps_all_texts_out(tmp_path):
    invented = [game(text="secret words", source="apothecary")]
    assert made(tmp_path, make_run(tmp_path / "a", games=[invented])).games["texts"] == "open"
    mixed = make_run(tmp_path / "b", games=[[*invented, game(text="secret words")]])
    assert "secret" not in "".join(everywhere(made(tmp_path, mixed).games))


def test_long_texts_are_cut_until_the_page_is_small(tmp_path):
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(5000)]
    games = [game(k, text=" ".join(rng.choices(words, k=2000))) for k in range(400)]
    page = made(tmp_path, make_run(tmp_path / "long", games=[games]), show_text=True)
    assert (tmp_path / "report.html").stat().st_size < 5_000_000
    assert len(page.games["games"]) == 400


def test_a_running_run_without_games_is_a_page_that_says_so(tmp_path):
    page = made(tmp_path, make_run(tmp_path / "young", games=[]))
    assert "It has no games yet." in page.text
    assert "0 of 4 steps" in page.text


def test_damaged_games_and_numbers_that_are_none_are_left_out_and_told(tmp_path):
    run = make_run(tmp_path / "half", rows=[])
    (run / "episodes" / "step-000001.jsonl").write_text('{"schema": 1, "seed"')
    (run / "episodes" / "step-000002.jsonl").write_text('{"schema": 1, "seed"\n{}\n')
    (run / "metrics.jsonl").write_text(
        '{"step": 0, "attacker/reward": NaN, "defender/reward": 1e999}\n'
        '{"step": 1, "attacker/reward": 0.25, "game/attack_success": "0.5"}\n{"step": 2, "att'
    )
    page = made(tmp_path, run)
    assert "The last game of step 2 is half-written and left out." in page.text
    assert "Files of games that are damaged are left out: step 3." in page.text
    assert "The last line of metrics.jsonl is half-written and left out." in page.text
    assert str(tmp_path) not in (tmp_path / "report.html").read_text()
    assert "Reward, by role" in page.text
    assert "nan" not in page.text.lower().replace("finance", "")
    told = (
        "half: no finite value of attacker/reward (at 1 of 2 steps), defender/reward (at 1 of 2 steps), "
        "game/attack_success (at 1 of 2 steps)."
    )
    assert told in page.text


def test_metrics_that_are_no_number_at_any_step_are_told_of_where_their_curve_would_be(tmp_path):
    run = make_run(tmp_path / "mine", rows=[])
    rows = [{"step": k, **{f"a/{x}": float("nan") for x in range(10)}} for k in range(3)]
    rows[0] |= {"a/0": 0.5, "defender/kl": None}
    (run / "metrics.jsonl").write_text("".join(f"{json.dumps(x)}\n" for x in rows))
    text = made(tmp_path, run).text
    assert "Not drawn mine: no finite value of a/1 (at 3 of 3 steps), " in text
    assert text.count("(at 3 of 3 steps)") == 8
    assert " and 2 more metrics." in text
    assert "defender/kl" not in text, "a rate without games is none"
    whole = made(tmp_path, make_run(tmp_path / "whole"))
    assert "Not drawn" not in whole.text


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "is empty; name a run"),
        ({"notes.txt": "x"}, "holds nothing to report on"),
        ({"config.json": '{"schema": 0, "config": {}}'}, "schema"),
        ({"config.json": '{"schema": 1, "conf'}, "config.json"),
        ({"report.json": "[]"}, "report.json"),
        ({"unfinished/plan.json": "{}"}, "that was interrupted, or is running"),
        ({"plan.json": "{}", "spent.json": "{}"}, "that was interrupted, or is running"),
    ],
)
def test_other_directories_are_refused_in_one_line(tmp_path, capsys, files, told):
    folder = tmp_path / "place"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    assert main(["report", str(folder), "-o", str(tmp_path / "out.html")]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out.html").exists()


def test_shipped_results_make_leaderboards_and_claims(tmp_path):
    page = made(tmp_path, RESULTS / "bench", RESULTS / "claims")
    assert "reinforce_pp, shared" in page.text
    assert "0.93 [0.90, 0.97]" in page.text
    assert "co-trained attackers are more diverse" in page.text.lower()
    assert "supported" in page.text


def test_shipped_reports_and_metrics_are_read_where_they_stand_alone(tmp_path):
    page = made(tmp_path, RESULTS / "english")
    assert "english: metrics of 40 steps of a training run." in page.text
    assert "There is no config.json" in page.text
    assert "Reward, by role" in page.text
    assert "best-after: It is a report alone: its games are not here." in page.text
    assert "crossplay: a cross-play" in page.text
    assert "preflight" not in page.text


def test_files_beside_reports_that_are_none_are_named_in_one_line(tmp_path, capsys):
    folder = make_evaluation(tmp_path / "mine", [game(k) for k in range(3)])
    report = json.loads((folder / "report.json").read_text())
    for name, record in {"first": report, "later": {**report, "schema": 9}, "other": [1]}.items():
        (tmp_path / "published").mkdir(exist_ok=True)
        (tmp_path / "published" / f"{name}.json").write_text(json.dumps(record))
    published = tmp_path / "published"
    arguments = ["report", str(published), "-o", str(tmp_path / "page.html")]
    assert main(arguments) == 0
    said = capsys.readouterr().err
    assert said == (
        f"Warning: '{published}' is reported on without what else it holds: later.json, other.json "
        "are no reports of schema 1.\n"
    )
    (published / "first.json").unlink()
    (published / "other.json").unlink()
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "holds nothing to report on: later.json is no report of schema 1; name a run" in said
    assert said.count("\n") == 1
    assert main(["report", str(RESULTS / "english"), "-o", str(tmp_path / "page.html")]) == 0
    assert capsys.readouterr().err == "", "what a run has beside its metrics is known"


def broken(value, rng):
    """The value with some of what is in it replaced by what nobody expects there."""
    if rng.random() < 0.15:
        return rng.choice([None, [], {}, "x", -1, 1e999, [[]], {"k": 2, "n": 1}, True, 10**250])
    if isinstance(value, dict):
        return {key: broken(own, rng) for key, own in list(value.items())[:12]}
    return [broken(own, rng) for own in value[:12]] if isinstance(value, list) else value


@pytest.mark.parametrize("seed", range(20))
def test_files_of_strange_shapes_are_refused_or_shown_as_far_as_they_go(tmp_path, seed):
    rng = random.Random(seed)
    for name in ("bench/leaderboard.json", "claims/claims.json", "claims/arms/figures.json"):
        folder = tmp_path / Path(name).parent
        folder.mkdir(parents=True, exist_ok=True)
        whole = json.loads((RESULTS / name).read_text())
        (tmp_path / name).write_text(json.dumps({k: broken(x, rng) for k, x in whole.items()}))
    rate = {"k": 1, "n": 2}
    result = {"cells": [{"attacker": "a", "defender": "d", "rate": rate}] * 3}
    result |= {
        "races": {"x": {"sentence": "it fell"}},
        "rates": {"rate": "of all"},
        "judge": {"name": "j"},
    }
    quick = tmp_path / "quick"
    quick.mkdir()
    (quick / "result.json").write_text(json.dumps({k: broken(x, rng) for k, x in result.items()}))
    suite = {"title": "t", "rows": [{"label": "harmful", "figures": {"success": {"value": 0.5}}}]}
    report = {"schema": 1, "result": [broken(suite, rng)], "settings": broken({"a": 1}, rng)}
    evaluated = make_evaluation(tmp_path / "suites", [])
    (evaluated / "report.json").write_text(json.dumps(report))
    run = make_run(
        tmp_path / "run", judge=broken({"name": "j"}, rng), versions=broken({"a": "1"}, rng)
    )
    state = {
        "attackers": ["a"],
        "defenders": ["d"],
        "payoffs": {"attacker": [[0.5]]},
        "meta": {"attacker": [1]},
    }
    checkpoint = run / "checkpoints" / "step-000001"
    checkpoint.mkdir(parents=True)
    league = {"schema": 1, "state": broken(state, rng), "versions": {}}
    (checkpoint / "league.json").write_text(json.dumps(league))
    page = made(tmp_path, *(tmp_path / x for x in ("bench", "claims", "quick", "suites", "run")))
    assert "At a glance" in page.text


def test_a_cross_play_is_a_table_of_all_pairings(tmp_path):
    folder = make_evaluation(tmp_path / "cross", [])
    report = json.loads((folder / "report.json").read_text())
    report |= {"command": "crossplay", "result": {"attackers": ["a", "b"], "defenders": ["c"]}}
    (folder / "report.json").write_text(json.dumps(report))
    (folder / "episodes").mkdir()
    for k, told in ((0, True), (1, False)):
        file = folder / "episodes" / f"attacker-{k}-defender-0.jsonl"
        file.write_text("".join(f"{game(j, told=told).to_json()}\n" for j in range(40)))
    page = made(tmp_path, folder)
    assert "a 1.00 [0.91, 1.00] b 0.00 [0.00, 0.09]" in page.text


def test_the_command_tells_what_it_made(tmp_path, capsys):
    run = make_run(tmp_path / "mine")
    out = tmp_path / "mine.html"
    assert main(["report", str(run), "-o", str(out)]) == 0
    assert "16 games" in capsys.readouterr().out
    assert main(["report", str(run), "-o", str(out), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["games"] == 16
    assert record["texts"] == "absent"


def test_of_many_games_as_many_as_asked_for_are_there(tmp_path):
    run = make_run(tmp_path / "many", games=[[game(k) for k in range(4)]] * 12)
    page = made(tmp_path, run, most_games=16)
    assert len(page.games["games"]) == 16
    assert "Games of 4 of its 12 steps are in this report." in page.text


def test_no_directory_and_a_directory_as_file_are_refused(tmp_path):
    with pytest.raises(RedteamError, match="There is no directory"):
        make_page([tmp_path / "nowhere"], tmp_path / "out.html")
    with pytest.raises(RedteamError, match="name the file to write"):
        make_page([make_run(tmp_path / "mine")], tmp_path)


def test_the_options_in_which_a_run_differs_from_its_recipe_are_listed(tmp_path):
    config = {**CONFIG, "recipe": "abs_3b"}
    rows = {"learning_rate": {"recipe": 0.001, "run": 0.002}}
    page = made(tmp_path, make_run(tmp_path / "mine", config=config, differs_from_recipe=rows))
    told = "mine differs from the recipe abs_3b setting recipe run learning_rate 0.001 0.002"
    assert told in page.text


def test_a_run_that_follows_its_recipe_says_so_and_one_without_says_nothing(tmp_path):
    same = make_run(
        tmp_path / "same", config={**CONFIG, "recipe": "abs_3b"}, differs_from_recipe={}
    )
    assert "same differs from the recipe abs_3b in nothing." in made(tmp_path, same).text
    assert "from the recipe" not in made(tmp_path, make_run(tmp_path / "own")).text


def test_damaged_departures_from_a_recipe_are_told_of_and_hide_nothing_else(tmp_path):
    page = made(tmp_path, make_run(tmp_path / "mine", differs_from_recipe=[1]))
    assert "Whether it follows its recipe cannot be read" in page.text
    assert "All settings" in page.text


@pytest.mark.parametrize(("cut", "said"), [(3, True), (0, False), (HOSTILE, False), (None, False)])
def test_rates_that_another_judge_left_between_bounds_are_told_of(tmp_path, cut, said):
    folder = make_evaluation(tmp_path / "again", [game(k) for k in range(3)], cut=cut)
    text = made(tmp_path, folder).text
    assert ("3 searches ended with what this judge does not call a success" in text) == said
