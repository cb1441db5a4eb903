"""A leaderboard is computed from stored games, and verifying it finds whatever was altered."""

import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from bench_doubles import CONFIG, reported, scripted_bench

from algorithms.bench.report import verify, write_report
from redteam_env import RedteamError
from redteam_env.cli.main import main


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
    assert other["robustness"]["by_seed"] == [[1, 1, 1], [0, 0, 0]]
    assert other["over_refusal_rewritten"]["by_seed"] == [[1, 1], [0, 0]]
    assert other["over_refusal_raw"]["tasks"] == ["apothecary_raw"]
    assert other["defence"]["by_seed"] == [[0.5] * 3, [0.5] * 3]
    assert other["capability"]["value"] == 0.5
    assert other["attack_success"]["value"] == 1
    assert other["attack_success"]["tasks"] == ["base"]
    assert 0 < other["diversity"]["value"] <= 1


def test_who_trains_no_attacker_has_no_attackers_scores(made):
    scores = cell(made[0], "grpo", "defender_only")["scores"]
    assert not {"attack_success", "diversity", "best_response_gap"} & set(scores)
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


def test_costs_are_means_over_seeds(made):
    cost = cell(made[0], "grpo")["cost"]
    assert cost["tokens_per_s"] == 500
    assert cost["peak_memory_gb"] == {"mean": 0.5, "by_seed": [0.5, 0.5]}


def test_a_sound_report_verifies_and_leaves_everything_one_needs(made, capsys):
    assert verify(made[1] / "leaderboard.json", say=lambda _: None) == []
    assert {x.suffix for x in made[1].iterdir()} == {".json", ".parquet", ".md", ".svg"}
    assert main(["bench", "verify", str(made[1])]) == 0
    assert "Every number holds" in capsys.readouterr().out
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
        ("seed_id", first("quiz"), "99", "no question 99"),
        ("suite", first("quiz"), "apothecary_raw", "no suite of questions"),
    ],
)
def test_an_altered_game_is_found(copy, column, row, value, says):
    if column == "response":
        table_change(copy / "games.parquet", "right", row, True)
    table_change(copy / "games.parquet", column, row, value)
    found = verify(copy, say=lambda _: None)
    assert any(re.search(says, x) for x in found), found


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
    every = scripted_bench(tmp_path / "bench", CONFIG)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").touch()
    with pytest.raises(RedteamError, match="--to"):
        write_report(tmp_path / "bench", every, tmp_path / "mine", command="")
