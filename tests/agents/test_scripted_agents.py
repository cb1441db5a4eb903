"""Agents without a model: what each says, and that each keeps to the rules of any game."""

import io

import pytest
from rich.console import Console

from agents.human import HumanAgent
from agents.scripted import COMPLIANCE, FRAMES, REFUSAL
from redteam_env.game import Game, RedteamError, Seed, Thinking
from redteam_env.judges.lexical import is_refusal
from redteam_env.protocols import Agent
from redteam_env.registry import resolve_agent
from redteam_env.rollout import turn_request

NAMES = ("refuse", "comply", "template", "random", "echo")
SEED = Seed(id="1", text="Name {text} a {0} bird.", harmful=False)


def request(seat: str = "attacker_0", *, game: Game | None = None, path=(0, "game", 3)):
    rules = game or Game()
    state = rules.start(SEED, rewritten=seat == "attacker_0")
    return turn_request(rules, state, path)


def say(name: str, asked) -> str:
    return resolve_agent(name, asked.role).act([asked])[0].text


@pytest.mark.parametrize("name", NAMES)
def test_each_is_found_by_name_and_is_an_agent(name):
    for role in ("attacker", "defender"):
        agent = resolve_agent(name, role)
        assert isinstance(agent, Agent)
        assert agent.act([]) == []


def test_refuse_refuses_and_comply_does_not():
    for seat in ("attacker_0", "defender_0"):
        assert is_refusal(say("refuse", request(seat)))
        assert say("refuse", request(seat)) == REFUSAL
        assert say("comply", request(seat)) == f"{COMPLIANCE} {SEED.text}"
        assert not is_refusal(say("comply", request(seat)))


def test_echo_and_template_carry_the_seed_word_for_word():
    assert say("echo", request()) == SEED.text
    framed = {say("template", request(path=(0, "game", k))) for k in range(60)}
    assert framed == {frame.replace("{text}", SEED.text) for frame in FRAMES}


def test_the_defenders_seat_reacts_to_the_last_public_line():
    game = Game()
    state = game.apply(game.start(SEED, rewritten=True), "A rewritten line.")
    assert say("echo", turn_request(game, state, (0,))) == "A rewritten line."


@pytest.mark.parametrize("name", NAMES)
def test_the_same_path_gives_the_same_text_in_any_batch(name):
    agent = resolve_agent(name, "attacker")
    asked = [request(path=(0, "game", k)) for k in range(8)]
    together = [reply.text for reply in agent.act(asked)]
    alone = [agent.act([x])[0].text for x in reversed(asked)][::-1]
    assert together == alone


def test_random_says_different_things_in_different_games():
    texts = {say("random", request(path=(0, "game", k))) for k in range(30)}
    assert len(texts) == 30


@pytest.mark.parametrize("thinking", Thinking)
@pytest.mark.parametrize("name", NAMES)
def test_every_one_keeps_the_thinking_format_of_any_game(name, thinking):
    game = Game(thinking={"attacker_0": thinking, "defender_0": thinking})
    state = game.start(SEED, rewritten=True)
    while state.to_move:
        asked = turn_request(game, state, (1, len(state.turns)))
        state = game.apply(state, say(name, asked))
    assert all(turn.well_formed and not turn.forfeit for turn in state.turns)
    assert all((turn.thought != "") == (thinking is Thinking.REQUIRED) for turn in state.turns)


def test_an_unknown_agent_is_an_error_that_lists_those_there_are():
    with pytest.raises(RedteamError, match=r"'nobody'.*comply, echo.*refuse.*template"):
        resolve_agent("nobody", "attacker")


def test_a_person_sees_the_messages_and_answers_each_of_them(monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr("sys.stdin", io.StringIO("my answer\n.\n[bold]\n.\n"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    agent = HumanAgent(Console(file=shown, width=80))
    hostile = Game().apply(Game().start(SEED, rewritten=True), "\x1b[31m[red]boo[/red]")
    asked = [turn_request(Game(), hostile, (k,)) for k in range(2)]
    assert [reply.text for reply in agent.act(asked)] == ["my answer", "[bold]"]
    assert "[red]boo[/red]" in shown.getvalue()
    assert "\x1b[31m" not in shown.getvalue()
    assert "defender_0> " in shown.getvalue()


def test_a_person_who_hangs_up_is_an_error_that_names_the_seat(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    agent = HumanAgent(Console(file=io.StringIO()))
    with pytest.raises(RedteamError, match="before attacker_0 had answered"):
        agent.act([request()])
