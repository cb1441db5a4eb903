"""Training with a WildGuard server that answers from a record, one in ten answers broken."""

import json

import pytest
from support_servers import RecordedJudgeServer
from training_fakes import metrics

from redteam_env.cli.main import main
from redteam_env.game import Episode
from redteam_env.judges.card import read_card
from redteam_env.judges.sources import Source

TEMPLATE = "Human user:\n{prompt}\n\nAI assistant:\n{response}\n\nAnswers:"


@pytest.fixture
def own_template(monkeypatch):
    """Answer for the authors' template, which the package registry would have to be asked for."""
    monkeypatch.setattr(Source, "text", lambda self: TEMPLATE)


@pytest.mark.parametrize("endpoint", ["", "/v1", "/classify"])
def test_the_run_ends_and_broken_answers_are_void_games(
    arguments, own_template, tmp_path, capsys, endpoint
):
    run = tmp_path / "run"
    with RecordedJudgeServer(broken=0.1) as server:
        url = f"{server.url}{endpoint}"
        code = main(arguments(judge="wildguard", judge_url=url, steps=3, games=10))
    assert code == 0
    asked = len(server.answered)
    assert asked >= 30
    broken = sum(answer.broken for answer in server.answered[asked - 30 :])
    assert broken == 3
    assert json.loads(capsys.readouterr().out)["void"] == broken
    assert sum(row["game/void"] for row in metrics(run)) == broken
    games = [
        Episode.from_json(line)
        for file in sorted((run / "episodes").iterdir())
        for line in file.read_text().splitlines()
    ]
    void = [game for game in games if game.void]
    assert (len(games), len(void)) == (30, broken)
    for game in void:
        assert not any(game.rewards.values())
        assert game.samples == ()
    assert json.loads((run / "config.json").read_text())["judge"]["name"] == "wildguard"


@pytest.mark.registry
def test_the_authors_own_template_is_fetched_and_used(arguments, tmp_path):
    with RecordedJudgeServer(broken=0.1) as server:
        assert main(arguments(judge="wildguard", judge_url=server.url, steps=1, games=4)) == 0
    prompts = [body["prompt"] for _, _, body in server.requests]
    template = read_card("wildguard").questions[0].source.text()
    before, _, rest = template.partition("{prompt}")
    between, _, after = rest.partition("{response}")
    assert len(prompts) == 7  # three to find out whether the server works
    for prompt in prompts:
        assert prompt.startswith(before)
        assert between in prompt
        assert prompt.endswith(after)


def test_a_run_goes_on_without_a_judge_if_it_is_told_to(arguments, own_template, tmp_path):
    with RecordedJudgeServer(statuses=[200] * 3 + [400] * 1000) as server:
        more = {"judge": "wildguard", "judge_url": server.url, "steps": 1}
        assert main(arguments("--void-steps", "0", **more)) == 0
    assert metrics(tmp_path / "run")[0]["game/void"] == 8


def test_a_server_that_only_stammers_is_found_out_before_anything_is_written(
    arguments, own_template, tmp_path, capsys
):
    with RecordedJudgeServer(broken=range(1000)) as server:
        assert main(arguments(judge="wildguard", judge_url=server.url)) == 2
    assert "not usable" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
