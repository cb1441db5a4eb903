"""Stored games come back as they were, and columns answer as plain loops over rows would."""

import dataclasses
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from experiment_fakes import games_of, row
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from algorithms.studies.games import (
    SCHEMA,
    Who,
    game_rows,
    quiz_row,
    read_tables,
    write_table,
)
from redteam_env.game import (
    ATTACKER,
    DEFENDER,
    Game,
    RedteamError,
    Seed,
    Verdict,
)

WHO = Who(
    kind="cross", attacker="a", defender="d", attacker_seed=0, defender_seed=1, step=2, suite=""
)
TEXT = st.one_of(
    st.none(),
    st.text(max_size=12),
    st.sampled_from(["", "\x00", "\x1b[31m", "a|b\n`", "\u202e", "{0}", "[bold]", "\U0001f600"]),
)
TRUTH = st.sampled_from([None, True, False])
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["suite", "cross"]),
            "attacker": st.sampled_from(["a", "b", "c"]),
            "defender": TEXT,
            "attacker_seed": st.integers(-1, 2),
            "defender_seed": st.integers(-1, 2**15 - 1),
            "step": st.integers(0, 2**31 - 1),
            "suite": TEXT,
            "seed_id": TEXT,
            "split": TEXT,
            "harmful": TRUTH,
            "prompt": TEXT,
            "response": TEXT,
            "score": st.one_of(st.none(), st.floats(width=32)),
            "prompt_harmful": TRUTH,
            "refused": TRUTH,
            "told": TRUTH,
            "right": TRUTH,
        }
    ),
    max_size=12,
)
ANY_FOLDER = settings(
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def same_value(stored, found):
    if stored is None and isinstance(found, float):
        return math.isnan(found)
    if isinstance(stored, float) and math.isnan(stored):
        return math.isnan(found)
    return stored == found and (stored is None) == (found is None)


@ANY_FOLDER
@given(ROWS)
def test_rows_come_back_as_they_were(tmp_path, rows):
    """Whatever a model wrote, and what a row lacks; a missing score is NaN."""
    games = games_of(rows, tmp_path)
    assert len(games) == len(rows)
    for name in SCHEMA.names:
        found = games[name].tolist()
        assert all(same_value(x[name], y) for x, y in zip(rows, found, strict=True)), name


@ANY_FOLDER
@given(ROWS)
def test_rows_are_found_grouped_and_taken_as_by_plain_loops(tmp_path, rows):
    games = games_of(rows, tmp_path)

    def prompts(found):
        return found["prompt"].tolist()

    for wanted in ({"attacker": "a"}, {"attacker_seed": -1, "kind": "cross"}, {"told": True}):
        plain = [x["prompt"] for x in rows if all(x[k] == v for k, v in wanted.items())]
        assert prompts(games.where(**wanted)) == plain
    for many in (["a", "b"], ("a", "b"), {"a", "b"}, []):
        plain = [x["prompt"] for x in rows if x["attacker"] in many]
        assert prompts(games.where(attacker=many)) == plain
    groups = {}
    for x in rows:
        groups.setdefault((x["attacker"], x["attacker_seed"]), []).append(x["prompt"])
    found = [(key, prompts(x)) for key, x in games.by("attacker", "attacker_seed")]
    assert found == sorted(groups.items())
    assert all(type(seed) is int for (_, seed), _ in found)
    numbers = [0, 0, len(rows) - 1] if rows else []
    taken = games.take(np.array(numbers, dtype=int))
    assert prompts(taken) == [rows[k]["prompt"] for k in numbers]


def test_several_tables_follow_one_another_in_the_order_given(tmp_path):
    for name in ("b", "a"):
        write_table(tmp_path / name, [row(prompt=name), row(prompt=f"{name}2")])
    found = read_tables([tmp_path / "b", tmp_path / "a"])
    assert found["prompt"].tolist() == ["b", "b2", "a", "a2"]
    assert len(read_tables([])) == 0
    assert list(read_tables([]).by("attacker")) == []


def test_a_table_without_rows_is_a_table(tmp_path):
    assert len(games_of([], tmp_path)) == 0


def test_a_table_is_there_whole_or_not_at_all(tmp_path):
    def failing():
        yield row()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_table(tmp_path / "t.parquet", failing())
    assert list(tmp_path.iterdir()) == []


def foreign(tmp_path, kind):
    file = tmp_path / "foreign.parquet"
    table = pa.Table.from_pylist([row()], schema=SCHEMA)
    if kind == "text":
        file.write_text("kind,attacker\n")
    elif kind == "cut":
        write_table(file, [row()])
        file.write_bytes(file.read_bytes()[:-20])
    elif kind == "other columns":
        pq.write_table(pa.table({"a": [1, 2]}), file)
    elif kind == "one column fewer":
        pq.write_table(table.drop_columns(["right"]), file)
    elif kind == "one column more":
        pq.write_table(table.append_column("more", [[1]]), file)
    elif kind == "other types":
        changed = table.set_column(table.column_names.index("score"), "score", pa.array(["high"]))
        pq.write_table(changed, file)
    return file


@pytest.mark.parametrize(
    "kind",
    ["text", "cut", "other columns", "one column fewer", "one column more", "other types", "none"],
)
def test_a_foreign_file_is_refused_by_name(tmp_path, kind):
    file = foreign(tmp_path, kind)
    with pytest.raises(RedteamError, match=r"foreign\.parquet.*no table of games"):
        read_tables([file])


def finished(verdict, text="hello"):
    game = Game()
    seed = Seed(id="x-0", text="how do i make x", harmful=True, category="x", split="heldout")
    state = game.apply(game.start(seed, rewritten=True), "please")
    return game.finish(game.apply(state, text), verdict, path=(1, "game", 0))


def test_a_game_becomes_a_row_with_its_verdict_and_score():
    verdict = Verdict(
        prompt_harmful=True, response_refusal=False, response_harmful=True, judge="exact"
    )
    (found,) = game_rows(WHO, [finished(verdict)], [1.5])
    assert found == {
        "kind": "cross",
        "attacker": "a",
        "defender": "d",
        "attacker_seed": 0,
        "defender_seed": 1,
        "step": 2,
        "suite": "",
        "seed_id": "x-0",
        "split": "heldout",
        "harmful": True,
        "prompt": "please",
        "response": "hello",
        "score": 1.5,
        "prompt_harmful": True,
        "refused": False,
        "told": True,
        "right": None,
    }
    assert game_rows(WHO, [finished(verdict)])[0]["score"] is None
    seats = {x.seat: x.visible for x in finished(verdict).turns}
    assert (found["prompt"], found["response"]) == (seats[ATTACKER], seats[DEFENDER])


def test_a_game_without_a_whole_verdict_is_an_error_and_no_row():
    partial = finished(
        Verdict(prompt_harmful=True, response_refusal=None, response_harmful=True, judge="unsure")
    )
    with pytest.raises(RedteamError, match=r"no verdict .*left unknown: response_refusal"):
        game_rows(WHO, [partial])
    with pytest.raises(RedteamError, match=r"no verdict .*forfeited"):
        game_rows(WHO, [dataclasses.replace(partial, verdict=None, void=None)])


def test_a_question_of_the_quiz_is_a_row_without_verdict(tmp_path):
    made = quiz_row(WHO, "sum", "add one and two", "it is three", right=True)
    games = games_of([made], tmp_path)
    assert set(made) == set(SCHEMA.names)
    assert (games["suite"][0], games["right"][0], games["told"][0]) == ("sum", True, None)
