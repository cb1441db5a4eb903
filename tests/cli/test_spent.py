"""What an evaluation took is told of all calls that played its games, and not of the last one alone."""

import json

import pytest

from redteam_env.cli.main import main
from redteam_env.protocols import Reply, Usage

ATTACKED = ("crossplay", "--attackers", "attack:template?attempts=2", "--defenders", "watched")
WORDS = ("--seeds", "words", "--judge", "words", "--batch-size", "2", "--games", "8")
COMPARED = "disagreement:words+always"


class Metered:
    """Answers and counts; is interrupted at one of its calls."""

    def __init__(self, at=0):
        self.calls = 0
        self.usage = Usage()
        self._at = at

    def act(self, requests):
        self.calls += 1
        if self.calls == self._at:
            raise KeyboardInterrupt
        count = len(requests)
        more = Usage(requests=count, prompt_tokens=3 * count, completion_tokens=count, cost=0.5)
        self.usage = self.usage.plus(more)
        return [Reply(text=f"HARM {hash(x.path) % 100}") for x in requests]


@pytest.fixture
def playing(plugins, capsys):
    """Runs a command with an agent that is interrupted at one of its calls; returns its exit code and stderr."""

    def played(arguments, out, at=0):
        agent = Metered(at)
        plugins("agents", "watched", lambda role: agent)
        more = ("--judge", COMPARED, "--out", str(out))
        return main([*arguments, *more]), capsys.readouterr().err

    return played


def report_in(out):
    return json.loads((out / "report.json").read_text())


@pytest.mark.parametrize("at", [2, 4])
def test_usage_and_disagreement_are_those_of_all_calls(keeping_command, playing, tmp_path, at):
    assert playing(keeping_command, tmp_path / "whole")[0] == 0
    assert playing(keeping_command, tmp_path / "out", at)[0] == 130
    code, said = playing(keeping_command, tmp_path / "out")
    assert (code, "Warning" in said) == (0, False)
    whole, resumed = report_in(tmp_path / "whole"), report_in(tmp_path / "out")
    assert resumed["usage"] == whole["usage"]
    assert resumed["judge"] == whole["judge"]
    assert resumed["judge"]["disagreement"]["response_harmful"]["dialogues"] > 0


def test_the_queries_of_an_attack_are_those_of_all_calls(playing, tmp_path):
    arguments = (*ATTACKED, "no", *WORDS)
    assert playing(arguments, tmp_path / "whole")[0] == 0
    assert playing(arguments, tmp_path / "out", 4)[0] == 130
    assert playing(arguments, tmp_path / "out")[0] == 0
    whole, resumed = report_in(tmp_path / "whole"), report_in(tmp_path / "out")
    assert resumed["attack_queries"] == whole["attack_queries"]
    assert resumed["usage"] == whole["usage"]


ROW = {"agent": "watched", "role": "defender", "requests": "many"}
SOUND = {"schema": 1, "usage": [], "attack_queries": [], "disagreement": {}}


@pytest.mark.parametrize(
    "content",
    [
        {},
        {**SOUND, "usage": [{}]},
        {**SOUND, "usage": [ROW]},
        {**SOUND, "disagreement": {"response_harmful": {"dialogues": 0.5}}},
    ],
)
def test_a_damaged_file_is_refused_and_one_that_is_gone_is_told_of(playing, tmp_path, content):
    arguments = ("evaluate", "--attacker", "echo", "--defender", "watched", *WORDS)
    out = tmp_path / "out"
    assert playing(arguments, out, 3)[0] == 130
    file = out / "unfinished" / "spent.json"
    file.write_text(json.dumps(content))
    code, said = playing(arguments, out)
    assert code == 2
    assert str(file) in said
    assert "Remove it, and what is told of usage is that of the calls from then on." in said
    file.unlink()
    code, said = playing(arguments, out)
    assert code == 0
    assert f"There is no '{file}', so what is told of usage is that of this call." in said
