"""The command ``speed``: every row, for people and for programs; it measures and never judges."""

import io
import json
import sys

import pytest
import torch

from algorithms.cli.speed import row_text
from algorithms.speed.measures import _dialogues
from algorithms.speed.rows import Measured, SpeedConfig
from redteam_env.cli.main import main
from redteam_env.game import RedteamError
from redteam_env.worlds.apothecary import ApothecaryJudge

SMALL = (
    "--steps",
    "1",
    "--games",
    "4",
    "--evaluation-games",
    "4",
    "--dialogues",
    "50",
    "--tokens",
    "1000",
)
BUDGETS = {
    "training step, bipolicy": 0.6,
    "training step, shared": 0.6,
    "bipolicy / shared": None,
    "120 steps with evaluation, projected": 110,
    "sampling, bipolicy": None,
    "judge, texts not seen before": 50_000,
    "judge, texts seen before": 50_000,
    "cached judge, verdicts in its store": 20_000,
    "equilibrium of a 64 x 16 twin": 1,
    "advantages of 1,000 tokens, grpo": 1,
    "a token among these / among a tenth of them": None,
    "peak memory of this process": 1.5,
    "cores this process had": None,
}


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What a small measurement prints as JSON."""
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch, pytest.MonkeyPatch.context() as place:
        place.chdir(tmp_path_factory.mktemp("place"))
        out = io.StringIO()
        patch.setattr(sys, "stdout", out)
        assert main(["speed", *SMALL, "--json"]) == 0
    assert torch.get_num_threads() == before
    return json.loads(out.getvalue())


def test_every_row_is_measured_and_stands_beside_its_budget(printed):
    assert {row["what"]: row["budget"] for row in printed["rows"]} == BUDGETS
    assert all(row["value"] > 0 for row in printed["rows"])
    assert printed["options"]["games"] == 4


def test_the_ratio_and_the_projection_follow_from_the_rows(printed):
    value = {row["what"]: row["value"] for row in printed["rows"]}
    both, shared = value["training step, bipolicy"], value["training step, shared"]
    assert value["bipolicy / shared"] == pytest.approx(both / shared)
    assert value["120 steps with evaluation, projected"] > both


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (
            {"what": "slow", "value": 0.71, "unit": "s", "budget": 0.6},
            "slow: 0.71 s (at most 0.60 s)",
        ),
        (
            {"what": "quick", "value": 61234.0, "unit": "games/s", "budget": 5e4, "more": True},
            "quick: 61,234 games/s (at least 50,000 games/s)",
        ),
        ({"what": "ratio", "value": 1.04}, "ratio: 1.04"),
    ],
)
def test_a_row_stands_beside_its_budget_in_the_right_direction(row, text):
    assert row_text(Measured(**row)).plain == text


def test_a_row_is_printed_before_the_next_one_is_measured(monkeypatch, capsys):
    told = []

    def measured(part, options, progress):
        for k in range(3):
            told.append(capsys.readouterr().out)
            progress(f"row {k}", k, 3)
            yield Measured(what=f"row {k}", value=k, part=part)

    monkeypatch.setattr("algorithms.cli.speed._measure", measured)
    assert main(["speed", "--part", "judges"]) == 0
    assert told[1:] == ["row 0: 0.00\n", "row 1: 1.00\n"]


def test_the_judge_is_timed_on_texts_that_it_reads_differently():
    dialogues = [d for _, d in zip(range(3000), _dialogues(), strict=False)]
    assert len({d.prompt for d in dialogues}) == 3000
    verdicts = ApothecaryJudge().judge(dialogues)
    for label in ("prompt_harmful", "response_refusal", "response_harmful"):
        assert {getattr(v, label) for v in verdicts} == {True, False}


@pytest.mark.parametrize("option", ["steps", "games", "evaluation_games", "dialogues", "threads"])
def test_a_number_below_one_is_refused_by_name(option):
    with pytest.raises(RedteamError, match=rf"{option} is 0; give a whole number >= 1"):
        SpeedConfig(**{option: 0})
