import io
import json

import pytest

from redteam_env.cli.main import main
from redteam_env.game import Episode
from redteam_env.protocols import Reply

WORDS = ["--seeds", "words", "--judge", "words"]


def test_games_are_shown_with_verdict_and_reward_components(capsys):
    assert main(["play", *WORDS, "--attacker", "echo", "--defender", "no", "--games", "2"]) == 0
    out = capsys.readouterr().out
    assert "game 2 of 2" in out
    assert "defender_0: NO" in out
    assert "verdict: harmful prompt, refused, harmless response" in out
    assert "defender_0 gets +2 (refusal +1, harm +1)" in out
    assert "Judge: words" in out


def test_hostile_text_is_shown_spelled_out(capsys):
    assert main(["play", *WORDS, "--attacker", "hostile", "--defender", "hostile"]) == 0
    out = capsys.readouterr().out
    assert "\\x1b[31mred\\x1b[0m [red]markup[/red] \\u202eright to left\\rverdict: forged" in out
    for char in ("\x1b", "\u202e", "\r"):
        assert char not in out


def test_json_prints_episodes_as_lines_and_nothing_else(capsys):
    assert main(["play", *WORDS, "--games", "4", "--json", "--rewrite-fraction", "0.5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    episodes = [Episode.from_json(line) for line in lines]
    assert len(episodes) == 4
    assert sum(episode.rewritten for episode in episodes) == 2
    assert {episode.seed.source for episode in episodes} == {"words"}


def test_the_same_seed_plays_the_same_games(capsys):
    command = ["play", *WORDS, "--json", "--attacker", "random", "--games", "2"]
    outputs = []
    for seed in ("1", "1", "2"):
        assert main([*command, "--seed", seed]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1] != outputs[2]


@pytest.fixture
def typed(monkeypatch):
    """Type lines; behind the last one the input ends, as with Ctrl-D for a ``None`` between them."""

    def type_(*lines):
        left = iter(lines)

        def read(*_):
            line = next(left, None)
            if line is None:
                raise EOFError
            return line

        monkeypatch.setattr("builtins.input", read)

    return type_


def test_a_person_can_take_a_seat_and_type_several_lines(capsys, typed):
    typed("first try", "", "in three lines", ".", "second try", None)
    assert main(["play", *WORDS, "--attacker", "human", "--games", "2"]) == 0
    out = capsys.readouterr().out
    assert "attacker_0: first try | | in three lines" in " ".join(out.split())
    assert "attacker_0: second try" in out


def test_the_rules_are_shown_at_the_start_and_when_asked_for(capsys, typed):
    typed("one", ".", "/rules", "two", ".")
    assert main(["play", *WORDS, "--attacker", "human", "--games", "2"]) == 0
    before, _, behind = capsys.readouterr().out.partition("attacker_0: one")
    # the seeds of the two games have two labels, and the attacker's rules tell the label
    for part, times in ((before, 1), (behind, 2)):
        told = " ".join(part.split())
        assert told.count("a line with a single dot, or Ctrl-D, ends it") == times


def test_prompts_are_for_a_terminal_and_piped_messages_leave_no_trace_of_them(capsys, monkeypatch):
    game = ["play", *WORDS, "--attacker", "human", "--games", "1"]
    monkeypatch.setattr("sys.stdin", io.StringIO("one\ntwo\n"))
    assert main(game) == 0
    out = capsys.readouterr().out
    assert "> " not in out
    assert "... " not in out
    assert any(x.startswith("seed (") for x in out.splitlines())
    monkeypatch.setattr("sys.stdin", io.StringIO("one\ntwo\n"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    assert main(game) == 0
    assert "attacker_0> ... " in capsys.readouterr().out


def test_an_empty_message_is_not_played(capsys, typed):
    typed("", ".", "  ", ".", "at last", ".")
    assert main(["play", *WORDS, "--attacker", "human", "--games", "1"]) == 0
    out = capsys.readouterr().out
    assert out.count("An empty message is not played.") == 2
    assert "attacker_0: at last" in out


def test_what_was_typed_and_the_last_message_can_be_taken_back(capsys, typed):
    typed("/undo", "wrong", "/undo", "first", ".", "/undo", "better", ".", "second", ".")
    game = ["--attacker", "human", "--games", "1", "--exchanges", "2"]
    assert main(["play", *WORDS, *game]) == 0
    out = capsys.readouterr().out
    assert "There is nothing to take back in this game." in out
    assert "attacker_0: better" in out
    assert "attacker_0: second" in out
    assert "wrong" not in out
    assert "attacker_0: first" not in out


def test_a_person_who_quits_ends_the_session_and_leaves_the_game_out(capsys, typed):
    typed("one", ".", "/quit")
    assert main(["play", *WORDS, "--attacker", "human", "--games", "3"]) == 0
    out = capsys.readouterr().out
    assert "attacker_0: one" in out
    assert "game 3 of 3" not in out
    assert "Judge: words" in out


def test_a_person_who_leaves_gets_a_clear_error(capsys, typed):
    typed()
    assert main(["play", *WORDS, "--defender", "human"]) == 2
    assert "input ended before" in capsys.readouterr().err


def test_on_a_terminal_no_word_is_broken(capsys, monkeypatch, plugins):
    class Talker:
        def act(self, requests):
            return [Reply(text="whole words only " * 20) for _ in requests]

    plugins("agents", "talker", lambda role: Talker())
    for name, value in {"TTY_COMPATIBLE": "1", "COLUMNS": "50", "TERM": "dumb"}.items():
        monkeypatch.setenv(name, value)
    assert main(["play", *WORDS, "--defender", "talker", "--games", "1"]) == 0
    told = capsys.readouterr().out.partition("defender_0:")[2].partition("verdict:")[0]
    lines = told.splitlines()
    assert len(lines) > 3
    assert all(len(line) <= 50 for line in lines)
    assert {word for line in lines[:-1] for word in line.split()} <= {"whole", "words", "only"}


def test_a_persons_questions_would_spoil_json(capsys):
    assert main(["play", *WORDS, "--attacker", "human", "--json"]) == 2
    assert "--json leaves no room" in capsys.readouterr().err


def test_a_run_brings_its_seeds_judge_and_rules(run_directory, policy, capsys):
    arguments = ["--attacker", "echo", "--defender", str(run_directory), "--games", "1", "--json"]
    assert main(["play", *arguments]) == 0
    episode = json.loads(capsys.readouterr().out)
    assert episode["verdict"]["judge"] == "words"
    assert episode["rewards"]["attacker_0"] == -episode["rewards"]["defender_0"]
    assert policy[0].options == {"base": "tiny", "max_new_tokens": 7, "temperature": 0.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--attacker", "nobody"], "Unknown agent 'nobody'"),
        (["--seeds", "nothing"], "Unknown seed source 'nothing'"),
        (["--judge", "noone"], "Unknown judge 'noone'"),
        (["--rewards", "gold"], "Unknown rewards preset 'gold'"),
        (["--games", "0"], "games is 0"),
        (["--temperature", "-1"], "temperature is -1"),
        (["--temperature", "nan"], "temperature is nan"),
        (["--max-new-tokens", "0"], "max_new_tokens is 0"),
        (["--benign-fraction", "2"], "benign_fraction is 2"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_it(arguments, message, capsys):
    assert main(["play", *WORDS, *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_help_explains_every_option(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["play", "--help-all"])
    assert stop.value.code == 0
    out = " ".join(capsys.readouterr().out.split())
    for option in ("--attacker", "--defender", "--games", "--seeds", "--judge-url", "--json"):
        assert option in out
    assert "the first run's, else builtin" in out
