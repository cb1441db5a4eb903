"""What ``evaluate`` and ``crossplay`` played before Ctrl-C is kept, and the same command goes on from there."""

import json
import signal

import pytest

from redteam_env.cli.main import main
from redteam_env.protocols import Reply

WORDS = ("--seeds", "words", "--judge", "words", "--games", "8", "--batch-size", "2")
COMMANDS = {
    "evaluate": ("evaluate", "--attacker", "echo", "--defender", "counted"),
    "crossplay": ("crossplay", "--attackers", "echo", "counted", "--defenders", "no", "counted"),
    "attack": ("evaluate", "--attack", "template", "--defender", "counted"),
}


class Counted:
    """Answers with a number of its own for each request, and does something at one of its calls."""

    def __init__(self, at=0, do=None):
        self.calls = self.answered = 0
        self._at, self._do = at, do

    def act(self, requests):
        self.calls += 1
        if self.calls == self._at:
            self._do()
        self.answered += len(requests)
        return [Reply(text=f"HARM {hash(x.path) % 100}") for x in requests]


def press():
    signal.raise_signal(signal.SIGINT)


def fail():
    raise KeyboardInterrupt


def files(folder):
    """Return what each file of a folder holds; of the report, what was measured."""
    found = {x.relative_to(folder).as_posix(): x.read_text() for x in folder.rglob("*.json*")}
    return {**found, "report.json": json.loads(found["report.json"])["result"]}


@pytest.fixture
def playing(plugins, monkeypatch):
    """Names an agent ``counted``."""
    monkeypatch.setattr("redteam_env.cli.attacks.PART", 1)
    return lambda agent: plugins("agents", "counted", lambda role: agent)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def told(capsys):
    """What stderr was told since it was asked last."""
    return lambda: capsys.readouterr().err


@pytest.fixture
def whole(tmp_path, out, playing):
    """What a command writes that nothing interrupts."""

    def made(arguments):
        playing(Counted())
        assert main([*arguments, *WORDS, "--out", str(tmp_path / "whole")]) == 0
        return files(tmp_path / "whole")

    made.out = out
    return made


@pytest.mark.parametrize("do", [press, fail])
@pytest.mark.parametrize("name", COMMANDS)
def test_an_interrupted_command_goes_on_to_the_same_games(name, do, whole, playing, told):
    out = whole.out
    expected = whole(COMMANDS[name])
    first, again = Counted(at=2, do=do), Counted()
    arguments = [*COMMANDS[name], *WORDS, "--out", str(out)]
    playing(first)
    assert main(arguments) == 130
    said = told()
    assert ("finishing this batch" in said) is (do is press)
    assert f"Kept in {out}; the same command goes on from there." in said
    assert [x.name for x in out.iterdir()] == ["unfinished"]
    assert first.answered
    playing(again)
    assert main(arguments) == 0
    assert f"Going on with the games in {out}." in told()
    assert files(out) == expected
    assert again.calls


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-20],
        lambda content: content[:-20] + b"\n",
        lambda content: content + b"\0" * 20,
        lambda content: content[:-20] + b"\0" * 20 + b"\n",
    ],
)
def test_a_half_written_last_line_is_told_of_and_its_game_played_again(
    damage, whole, playing, out, told
):
    expected = whole(COMMANDS["evaluate"])
    arguments = [*COMMANDS["evaluate"], *WORDS, "--out", str(out)]
    playing(Counted(at=3, do=fail))
    assert main(arguments) == 130
    kept = out / "unfinished" / "games.jsonl"
    kept.write_bytes(damage(kept.read_bytes()))
    last = len(kept.read_bytes().rstrip(b"\n").split(b"\n"))
    told()
    playing(Counted(at=2, do=fail))
    assert main(arguments) == 130
    notice = (
        f"Warning: Line {last} of '{kept}' is half-written and left out; its game is played again."
    )
    assert told().count(notice) == 1
    playing(Counted())
    assert main(arguments) == 0
    assert "half-written" not in told()
    assert files(out) == expected


def test_a_last_line_that_lacks_its_end_only_is_kept(whole, playing, out, told):
    expected = whole(COMMANDS["evaluate"])
    arguments = [*COMMANDS["evaluate"], *WORDS, "--out", str(out)]
    playing(Counted(at=3, do=fail))
    assert main(arguments) == 130
    kept = out / "unfinished" / "games.jsonl"
    kept.write_bytes(kept.read_bytes().removesuffix(b"\n"))
    playing(Counted())
    assert main(arguments) == 0
    assert "half-written" not in told()
    assert files(out) == expected


@pytest.mark.parametrize("name", ["evaluate", "attack"])
def test_a_broken_line_before_the_last_is_an_error_that_names_it(name, playing, out, told):
    arguments = [*COMMANDS[name], *WORDS, "--out", str(out)]
    playing(Counted(at={"evaluate": 3, "attack": 12}[name], do=fail))
    assert main(arguments) == 130
    kept = out / "unfinished" / {"evaluate": "games.jsonl", "attack": "attempts.jsonl"}[name]
    lines = kept.read_text().splitlines(keepends=True)
    for broken in ("{}\n", lines[1][:-20] + "\n"):
        kept.write_text("".join([lines[0], broken, lines[-1]]))
        told()
        assert main(arguments) == 2
        said = told()
        assert f"Line 2 of '{kept}' " in said
        assert "Remove the file, and its " in said


def test_another_command_is_refused_and_what_is_kept_stays(playing, out, told):
    arguments = [*COMMANDS["evaluate"], *WORDS, "--out", str(out)]
    playing(Counted(at=2, do=fail))
    assert main(arguments) == 130
    before = {x: x.read_bytes() for x in out.rglob("*.json*")}
    told()
    assert main([*arguments, "--seed", "1"]) == 2
    assert "another evaluation (other games, settings)" in told()
    assert main(["rejudge", str(out), "--judge", "words"]) == 2
    assert "was interrupted; the command that began it goes on" in told()
    assert {x: x.read_bytes() for x in out.rglob("*.json*")} == before


def test_a_command_that_ends_before_its_first_game_leaves_nothing(playing, out, told):
    playing(Counted(at=1, do=fail))
    assert main([*COMMANDS["evaluate"], *WORDS, "--out", str(out)]) == 130
    assert "Kept" not in told()
    assert not out.exists()


def test_void_games_are_played_again(whole, playing, out):
    class Down(Counted):
        def act(self, requests):
            if self.calls == 1:
                fail()
            self.calls += 1
            return [Reply(text="", error="the server is down") for _ in requests]

    expected = whole(COMMANDS["evaluate"])
    arguments = [*COMMANDS["evaluate"], *WORDS, "--out", str(out)]
    playing(Down())
    assert main(arguments) == 130
    playing(Counted())
    assert main(arguments) == 0
    assert files(out) == expected
