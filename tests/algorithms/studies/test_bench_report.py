"""A leaderboard is computed from stored games, and verifying it finds whatever was altered."""

import json
import re
import shutil
from html import unescape

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bench_fakes import CONFIG, reported, with_options
from markdown_it import MarkdownIt

from algorithms.studies.bench.ladder import RUNGS, register
from algorithms.studies.bench.leaderboard import rank
from algorithms.studies.bench.page import TITLES, markdown
from algorithms.studies.bench.plots import plot
from algorithms.studies.bench.report import read_manifest, verify, write_report
from algorithms.studies.bench.scores import scale, score
from algorithms.studies.bench.tasks import able, manifest_of, tasks
from algorithms.studies.games import SCHEMA, Games, read_tables
from algorithms.studies.manifest import sealed
from redteam_env import RedteamError
from redteam_env.cli.main import main
from redteam_env.registry import isolated
from redteam_env.trust import confirm_places


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return reported(tmp_path_factory.mktemp("bench"))


@pytest.fixture
def copy(made, tmp_path):
    target = tmp_path / "report"
    target.mkdir()
    for file in made[1].iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def cell(figures, label, arrangement="bipolicy"):
    return next(
        x for x in figures["cells"] if (x["label"], x["arrangement"]) == (label, arrangement)
    )


def test_scores_are_those_of_the_players(made):
    grpo, other = cell(made[0], "grpo")["scores"], cell(made[0], "reinforce_pp")["scores"]
    # the oracle refuses what is harmful, serves all else
    assert grpo["defence"]["value"] == grpo["robustness"]["value"] == 1
    assert grpo["over_refusal_raw"]["value"] == grpo["over_refusal_rewritten"]["value"] == 0
    assert grpo["best_response_gap"]["value"] == 0
    # one seed refuses all, one tells all: both are worth one half
    assert other["robustness"]["by_seed"] == [[1] * 4, [0] * 4]
    assert other["over_refusal_rewritten"]["by_seed"] == [[1] * 3, [0] * 3]
    assert other["over_refusal_raw"]["tasks"] == ["apothecary_raw"]
    assert other["capability"]["value"] == 0.5
    assert 0 < other["diversity"]["value"] <= 1


def test_who_refuses_all_or_nothing_defends_nothing(made):
    other = cell(made[0], "reinforce_pp")["scores"]
    assert other["defence"]["by_seed"] == other["train_defence"]["by_seed"] == [[0], [0]]
    assert other["auc"]["by_seed"] == [[0.5, 0.5], [0.5, 0.5]]
    assert other["auc"]["tasks"] == ["apothecary_alias", "apothecary_split"]


def test_attackers_are_placed_between_the_base_and_the_best_script(made):
    # half_trained refuses names as they stand and tells the others; the base tells all
    for split in ("train", "heldout"):
        found = made[0]["panel"][split]
        assert found["half_trained"] == {"floor": 0, "ceiling": 1, "tells": True}
        assert found["base"] == {"floor": 1, "ceiling": 1, "tells": False}
    hides, asks = cell(made[0], "grpo")["scores"], cell(made[0], "reinforce_pp")["scores"]
    assert hides["attack"]["value"] == hides["train_attack"]["value"] == 1
    assert asks["attack"]["value"] == 0
    assert asks["attack_success"]["tasks"] == ["base", "half_trained"]
    assert asks["attack_success"]["by_seed"] == [[1, 0], [1, 0]]
    assert cell(made[0], "base", "base")["scores"]["attack"]["value"] == 0


def test_a_verdict_is_given_on_each_two_cells(made):
    found = {(x["first"], x["second"]): x for x in made[0]["verdicts"]["defence"]}
    pair = next(x for k, x in found.items() if set(k) == {"grpo.bipolicy", "reinforce_pp.bipolicy"})
    assert pair["verdict"] == ("better" if pair["first"] == "grpo.bipolicy" else "worse")
    assert abs(pair["difference"]) == 1
    page = unescape((made[1] / "leaderboard.md").read_text())
    assert "What is told apart: defence" in page
    assert "4 of 6 pairs of cells are told apart." in page
    assert "are not told apart: +0.000 [+0.000, +0.000], needs more seeds than can be said" in page


def test_the_page_says_whether_fresh_attackers_are_strong_enough(made):
    fresh = made[0]["fresh"]
    assert (fresh["by_seed"], fresh["script"], fresh["weaker"]) == ([1, 1], 1, False)
    assert "They are not weaker than the best suite." in (made[1] / "leaderboard.md").read_text()
    weak = {**made[0], "fresh": {**fresh, "weaker": True}}
    assert "give a larger --response-budget" in unescape(markdown(weak, "a command"))


def test_the_page_has_every_form_and_every_graded_defender_by_itself(made):
    page = (made[1] / "leaderboard.md").read_text()
    assert "| cell | apothecary_alias | apothecary_split |" in page
    assert "| grpo, bipolicy | 1.00 | 1.00 |" in page
    assert "| cell | base | half_trained |" in page
    assert "| reinforce_pp, bipolicy | 1.00 | 0.00 |" in page


def test_results_of_an_older_plan_or_world_are_not_compared(copy):
    manifest = json.loads((copy / "bench.json").read_text())
    older = sealed({**manifest, "seeds": "0" * 16})
    (copy / "bench.json").write_text(json.dumps(older))
    with pytest.raises(RedteamError, match="older version of the world"):
        verify(copy, say=lambda _: None)
    (copy / "bench.json").write_text(json.dumps(sealed({**manifest, "schema": 3})))
    with pytest.raises(RedteamError, match="has schema 3; this version reads 4"):
        verify(copy, say=lambda _: None)


def test_plug_ins_that_are_not_here_are_named_with_what_to_do(copy):
    manifest = json.loads((copy / "bench.json").read_text())
    plugins = {
        **manifest["plugins"],
        "algorithms/mine": "registered in process",
        "judges/strict": "other 1.0",
        "opponents/fair": "other 1.0",
        "suites/hard": "other 1.0",
    }
    (copy / "bench.json").write_text(json.dumps(sealed({**manifest, "plugins": plugins})))
    with pytest.raises(RedteamError, match=r"(?s)'mine' .algorithms. is not here: install") as told:
        verify(copy, say=lambda _: None)
    assert all(name in str(told.value) for name in ("'strict'", "'fair'", "'hard'"))
    assert "\n" not in str(told.value)


def test_the_ladders_rungs_are_here_though_nothing_registered_them(tmp_path):
    with isolated():
        register(rungs := [rung.name for rung in RUNGS])
        manifest = manifest_of(with_options(algorithms=",".join(rungs), budget=64))
    assert "algorithms/no_rate" in manifest["plugins"]
    with isolated():
        config, _ = read_manifest(manifest, tmp_path)
    assert config.algorithms == ",".join(rungs)


def test_the_export_is_verified_too(copy):
    def change(export):
        next(iter(export["apothecary_attack"]["all"].values()))["seed_0"]["step_0"]["attack"] = [
            0.5
        ]

    alter(copy / "marl_eval.json", change)
    assert any("marl_eval" in x for x in verify(copy, say=lambda _: None))


def test_a_file_that_is_missing_is_told_of_before_anything_is_judged_again(copy):
    (copy / "marl_eval.json").unlink()
    said = []
    with pytest.raises(RedteamError, match="marl_eval"):
        verify(copy, say=said.append)
    assert not said


def test_the_robustness_on_raw_requests_asks_no_faithful_rewrite(made):
    games = read_tables([made[1] / "games.parquet"])
    columns = {name: games[name].copy() for name in SCHEMA.names}
    columns["prompt_harmful"][columns["kind"] == "suite"] = False
    altered = Games(columns)
    scores = score(CONFIG, able(CONFIG), altered, scale(CONFIG, altered))
    found = scores["reinforce_pp.bipolicy"]["robustness"]
    tells_all = dict(zip(found.tasks, found.values[1], strict=True))
    suites = dict.fromkeys(("apothecary_alias", "apothecary_split"), 1)
    assert tells_all == {**suites, "apothecary_raw": 0, "base": 0}


def test_who_trains_no_attacker_has_no_attackers_scores(made):
    scores = cell(made[0], "grpo", "defender_only")["scores"]
    assert scores["best_response_gap"]["value"] == 0  # over the base, which it was trained with
    assert not {"attack", "attack_success", "diversity"} & set(scores)
    assert set(cell(made[0], "grpo", "defender_only")["rating"]) == {"defender"}


def test_the_leaderboard_is_ranked_by_defence_and_rates_the_seats(made):
    values = [x["scores"]["defence"]["value"] for x in made[0]["cells"]]
    assert values == sorted(values, reverse=True)
    good, bad = cell(made[0], "grpo")["rating"], cell(made[0], "reinforce_pp")["rating"]
    assert good["defender"]["by_seed"][1]["mean"] > bad["defender"]["by_seed"][1]["mean"]
    improvement = made[0]["improvement"]["defence"]
    assert improvement["grpo.bipolicy"]["reinforce_pp.bipolicy"]["value"] == 1
    assert improvement["reinforce_pp.bipolicy"]["grpo.bipolicy"]["value"] == 0
    profile = made[0]["profiles"]["defence"]["grpo.bipolicy"]
    assert (profile[0], profile[-1]) == (1, 0)


def test_the_untrained_base_has_a_row_so_that_one_sees_whether_training_helped(made):
    base = cell(made[0], "base", "base")
    assert base["trained"] is False
    assert all(x["trained"] for x in made[0]["cells"] if x is not base)
    # it tells whatever it is asked, and was asked once: no training seed, no interval over them
    assert base["scores"]["defence"]["by_seed"] == [[0]]
    assert base["scores"]["defence"]["interval"] is None
    assert base["scores"]["attack_success"]["runs"] == base["scores"]["capability"]["runs"] == 1
    assert base["scores"]["best_response_gap"]["runs"] == 2
    assert set(base["rating"]) == {"attacker", "defender"}
    assert {base["cost"][x]["mean"] for x in ("games", "tokens", "seconds")} == {0}
    better = made[0]["improvement"]["defence"]["grpo.bipolicy"]["base"]
    assert (better["value"], better["interval"], better["runs"]) == (1, [1, 1], 2)
    assert "base" in made[0]["profiles"]["defence"]
    page = (made[1] / "leaderboard.md").read_text()
    assert "| base (untrained) | 0.00 [no interval] |" in page
    assert "The base is not trained" in page


def test_costs_are_means_over_seeds(made):
    cost = cell(made[0], "grpo")["cost"]
    assert cost["tokens_per_s"] == 500
    assert cost["peak_memory_gb"] == {"mean": 0.5, "by_seed": [0.5, 0.5]}


def test_a_sound_report_verifies_and_leaves_everything_one_needs(made, capsys):
    assert verify(made[1] / "leaderboard.json", say=lambda _: None) == []
    assert {x.suffix for x in made[1].iterdir()} == {".json", ".parquet", ".md", ".svg"}
    assert main(["bench", "verify", str(made[1])]) == 0
    assert "Every number holds" in capsys.readouterr().out
    assert main(["bench", "verify", str(made[1]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"holds": True, "differences": []}
    page = (made[1] / "leaderboard.md").read_text()
    assert "a command" in page
    assert "| grpo, bipolicy | 1.00 [1.00, 1.00] |" in page


def test_nothing_in_a_report_names_a_path_of_this_machine(made, tmp_path):
    for file in made[1].iterdir():
        assert str(tmp_path.parent).encode() not in file.read_bytes()


def alter(file, change):
    data = json.loads(file.read_text())
    change(data)
    file.write_text(json.dumps(data))


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x["cells"][0]["scores"]["defence"].update(value=0.99),
        lambda x: x["cells"][0]["scores"]["capability"]["interval"].__setitem__(0, 0.1),
        lambda x: x["cells"][0]["rating"]["defender"]["by_seed"][0].update(mean=99.0),
        lambda x: x["cells"][0]["cost"]["seconds"].update(mean=1.0),
        lambda x: x["improvement"]["defence"]["grpo.bipolicy"].popitem(),
        lambda x: x["cells"].reverse(),
        lambda x: x.update(void=1),
        lambda x: x.update(digest="0" * 16),
    ],
)
def test_an_altered_number_is_found(copy, change, capsys):
    alter(copy / "leaderboard.json", change)
    assert verify(copy / "leaderboard.json", say=lambda _: None)
    assert main(["bench", "verify", str(copy / "leaderboard.json")]) == 1
    assert "differs" in capsys.readouterr().out


def swap_a_tie(figures, by):
    """Change the lower of two cells with one score, and list it above the other; return its name."""
    cells = figures["cells"]
    values = [x["scores"]["defence"]["value"] for x in cells]
    k = next(k for k in range(1, len(values)) if values[k] == values[k - 1])
    cells[k]["scores"]["defence"]["value"] = by(values[k])
    cells[k - 1], cells[k] = cells[k], cells[k - 1]
    return f"{cells[k - 1]['label']}, {cells[k - 1]['arrangement']}"


def test_scores_that_swapped_places_by_a_rounding_are_no_difference(copy, capsys):
    alter(copy / "leaderboard.json", lambda x: swap_a_tie(x, lambda v: float(np.nextafter(v, 1))))
    assert verify(copy, say=lambda _: None) == []
    assert main(["bench", "verify", str(copy)]) == 0
    assert "Every number holds." in capsys.readouterr().out


def test_a_small_change_is_named_by_its_cell(copy):
    names = []
    alter(copy / "leaderboard.json", lambda x: names.append(swap_a_tie(x, lambda v: v + 1e-6)))
    [found] = verify(copy, say=lambda _: None)
    assert found.startswith(f"leaderboard/cells/{names[0]}/scores/defence/value: ")


def test_scores_that_are_equal_but_for_rounding_are_listed_by_name(made):
    figures = json.loads(json.dumps(made[0]))
    swap_a_tie(figures, lambda v: float(np.nextafter(v, 1)))
    names = [(x["label"], x["arrangement"]) for x in made[0]["cells"]]
    ranked = sorted(figures["cells"], key=rank)
    assert [(x["label"], x["arrangement"]) for x in ranked] == names
    swap_a_tie(figures := json.loads(json.dumps(made[0])), lambda v: v + 1e-6)
    ranked = sorted(figures["cells"], key=rank)
    assert [(x["label"], x["arrangement"]) for x in ranked] != names


def table_change(file, column, row, value):
    table = pq.read_table(file)
    values = table[column].to_pylist()
    values[row(table)] = value
    changed = pa.array(values).cast(table.schema.field(column).type)
    place = table.schema.get_field_index(column)
    pq.write_table(table.set_column(place, table.schema.field(column), changed), file)


def first(kind):
    return lambda table: table["kind"].to_pylist().index(kind)


@pytest.mark.parametrize(
    ("column", "row", "value", "says"),
    [
        ("refused", first("suite"), None, "stored as"),
        ("told", first("cross"), True, "stored as"),
        ("response", first("quiz"), "it is so", "leaderboard|answer"),
        ("prompt", first("quiz"), "repeat a", "asks something else"),
        ("seed_id", first("quiz"), "99", "no question '99'"),
        ("seed_id", first("quiz"), "\x1b[2J", r"no question '\\x1b\[2J'"),
        ("suite", first("quiz"), "apothecary_raw", "no suite of questions"),
    ],
)
def test_an_altered_game_is_found(copy, column, row, value, says):
    if column == "response":
        table_change(copy / "games.parquet", "right", row, True)
    table_change(copy / "games.parquet", column, row, value)
    found = verify(copy, say=lambda _: None)
    assert any(re.search(says, x) for x in found), found


RECORDS = [
    (lambda x: x["by_step"]["tokens"].__setitem__(0, 1), "tokens 1000, its steps say 1"),
    (lambda x: x.update(tokens=7), "tokens 7, its steps say 1000"),
    (lambda x: x.update(games=128), "games 128, its steps say 64"),
    (lambda x: x["by_step"]["seconds"].append(2.0), "another number of steps"),
    (lambda x: x.update(ended_by="tokens"), "ended_by 'tokens', its steps say 'games'"),
    (lambda x: [v.append(v[0]) for v in x["by_step"].values()], "steps 1, its steps say 2"),
    (lambda x: x["config"].update(seed=7), "was run with seed 7, not 0"),
    (lambda x: x["config"].update(max_tokens=9), "was run with max_tokens 9, not 0"),
    (lambda x: x.pop("by_step"), "is no record of a run"),
]


@pytest.mark.parametrize(("change", "says"), RECORDS)
@pytest.mark.parametrize("run", ["train/grpo.bipolicy-0", "attack/grpo.bipolicy-0"])
def test_an_altered_record_is_found(copy, run, change, says):
    alter(copy / "records.json", lambda x: change(x[run]))
    found = verify(copy, say=lambda _: None)
    assert any(f"{run} " in x and says in x for x in found), found


def test_a_run_off_the_budget_is_found_though_its_record_agrees_with_itself(copy):
    def double(record):
        for values in record["by_step"].values():
            values.append(values[0])
        for name in ("steps", "games", "tokens", "seconds"):
            record[name] *= 2

    alter(copy / "records.json", lambda x: double(x["train/grpo.bipolicy-0"]))
    found = verify(copy, say=lambda _: None)
    assert any("has 128 games in 2 steps, not 64 in 1" in x for x in found), found


def test_games_that_are_void_count_nowhere_and_are_no_difference(made, tmp_path):
    shutil.copytree(made[1].parent / "bench", tmp_path / "bench")
    every = tasks(CONFIG, able(CONFIG))
    file = tmp_path / "bench" / next(x.output for x in every if x.output.endswith("base-0.parquet"))
    table = pq.read_table(file)
    void = [k for k, kind in enumerate(table["kind"].to_pylist()) if kind == "suite"][:2]
    for name in ("prompt_harmful", "refused", "told"):
        for row in void:
            table_change(file, name, lambda _, row=row: row, None)
    figures = write_report(tmp_path / "bench", every, tmp_path / "report", command="")
    assert figures["void"] == 2
    assert verify(tmp_path / "report", say=lambda _: None) == []
    assert cell(figures, "base", "base")["scores"]["robustness"]["value"] == 0


@pytest.mark.parametrize(
    ("tokens", "steps", "says"),
    [
        (1500, 2, "Comparable at equal tokens (ended by the step that reached 1,500"),
        (9000, 4, "Comparable at equal games (ended at 256, before their tokens were spent"),
    ],
)
def test_the_page_says_which_scores_are_comparable(tmp_path, tokens, steps, says):
    config = with_options(
        budget=256, token_budget=tokens, arrangements="bipolicy", suites="apothecary_raw"
    )
    figures, target = reported(tmp_path, config)
    assert cell(figures, "grpo")["cost"]["games"]["by_seed"] == [64 * steps] * 2
    assert says in (target / "leaderboard.md").read_text()
    assert verify(target, say=lambda _: None) == []
    # a run that went on after its tokens were spent, or ended before
    more = {"tokens": 1000, "extra_games": 0, "extra_tokens": 0, "seconds": 2.0}
    alter(
        target / "records.json",
        lambda x: [
            values.extend([more[name]] * 8)
            for name, values in x["train/grpo.bipolicy-1"]["by_step"].items()
        ],
    )
    assert any("and went on" in x for x in verify(target, say=lambda _: None))


def test_without_a_budget_of_tokens_the_page_says_that_games_are_equal(made):
    page = (made[1] / "leaderboard.md").read_text()
    assert "comparable at equal games: every run learnt from 64." in page
    assert "not at equal tokens: runs sampled 1,000 to 1,000" in page


HOSTILE = "_a$b$_|<b>x</b> [l](http://e.x) `c` www.e.x\\| *d*\n# e"


def test_hostile_names_are_shown_as_they_stand(made, tmp_path):
    text = json.dumps(made[0]).replace('"grpo"', json.dumps(HOSTILE))
    figures = json.loads(text.replace('"grpo.bipolicy"', json.dumps(HOSTILE)))
    figures["cells"][0]["reason"] = HOSTILE
    page = markdown(figures, "a `command` | <b>")
    html = MarkdownIt("commonmark").enable("table").render(page)
    for tag in ("<b>", "<a ", "<em>", "<h1># e", "http://e.x</a>"):
        assert tag not in html
    shown = unescape(html)
    assert HOSTILE.replace("\n", " ") in shown
    assert "a `command` | <b>" in shown
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    columns = {x: [y.count(" |") for y in rows if y.count(" |") == x] for x in {len(TITLES) + 9}}
    assert len(columns[len(TITLES) + 9]) == len(figures["cells"]) + 1
    plot(figures, tmp_path)
    # matplotlib writes what it draws as a comment; it hides labels that begin with an underscore
    assert "_a$b$_" in (tmp_path / "profiles.svg").read_text()
    assert "_a$b$_" in (tmp_path / "scores.svg").read_text()


def test_a_missing_file_or_run_is_named(copy):
    alter(copy / "records.json", lambda x: x.pop("train/grpo.bipolicy-0"))
    assert any("cannot be computed" in x for x in verify(copy, say=lambda _: None))
    (copy / "records.json").unlink()
    with pytest.raises(RedteamError, match=r"records\.json"):
        verify(copy, say=lambda _: None)


def test_a_manifest_edited_by_hand_is_refused(copy):
    alter(copy / "bench.json", lambda x: x["options"].update(seeds=1))
    with pytest.raises(RedteamError, match="edited by hand"):
        verify(copy, say=lambda _: None)


def test_a_report_is_never_written_over_something_else(made, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").touch()
    every = tasks(CONFIG, able(CONFIG))
    with pytest.raises(RedteamError, match="--to"):
        write_report(made[1].parent / "bench", every, tmp_path / "mine", command="")


def test_places_outside_a_report_are_read_only_if_the_user_names_them(copy, tmp_path):
    manifest = json.loads((copy / "bench.json").read_text())
    outside = tmp_path / "outside"
    options = {**manifest["options"], "source": f"{outside}/x.csv"}
    (copy / "bench.json").write_text(json.dumps(sealed({**manifest, "options": options})))
    with pytest.raises(
        RedteamError, match=f"bench.json' names '{outside}/x.csv' as seeds.*add --use"
    ):
        verify(copy, say=lambda _: None)
    with pytest.raises(RedteamError, match="no seed file"):  # named, it is looked for
        verify(copy, say=lambda _: None, used=[str(outside)])


@pytest.mark.parametrize(
    ("option", "value", "fetched"),
    [
        ("source", "hub:somebody/requests", "somebody/requests"),
        ("judge", "plain?model=somebody/judge", "somebody/judge"),
    ],
)
def test_what_a_report_would_have_fetched_is_only_if_the_user_names_it(
    copy, option, value, fetched
):
    manifest = json.loads((copy / "bench.json").read_text())
    options = {**manifest["options"], option: value}
    (copy / "bench.json").write_text(json.dumps(sealed({**manifest, "options": options})))
    with pytest.raises(
        RedteamError, match=f"'{fetched}' of the Hugging Face hub as .*add --use {fetched}"
    ):
        verify(copy, say=lambda _: None)
    named = [(option, value)]
    confirm_places(named, root=copy, source="it", used=[fetched])  # named, nobody is asked
