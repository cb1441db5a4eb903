"""Judges of others: what they return is read at once, whoever asks them."""

import asyncio
import errno
import json
from concurrent.futures import CancelledError
from unittest.mock import MagicMock

import numpy as np
import pytest
from test_rollout import setups

import redteam_env
from redteam_env import Game, RedteamError, Seed, Verdict
from redteam_env.evaluation import evaluate
from redteam_env.faithfulness import measure_of
from redteam_env.game import ATTACKER, DEFENDER
from redteam_env.judges import always, record
from redteam_env.judges.identity import identity_of
from redteam_env.judges.judge import Completion, Question, TemplateJudge
from redteam_env.judges.resolve import resolve_judge
from redteam_env.protocols import Reply
from redteam_env.registry import resolve_agent
from redteam_env.rollout import play
from redteam_env.testing import faults

FIELDS = ("prompt_harmful", "response_refusal", "response_harmful")
GAMES = setups(3, rewrite_fraction=0)


class Says:
    """Answers every request alike."""

    asked = 0

    def act(self, requests):
        self.asked += 1
        return [Reply(text="No.") for _ in requests]


def agents():
    return {ATTACKER: Says(), DEFENDER: Says()}


def fair(**fields):
    return Verdict(**dict.fromkeys(FIELDS, False) | fields)


def judging(judge):
    """Return a judge that is its method."""
    return type("Mine", (), {"name": "mine", "smoke_only": True, "judge": judge})()


def one_by_one(verdict):
    return judging(lambda self, dialogues: [verdict for _ in dialogues])


def rollout(judge, tmp_path):
    return play(GAMES, agents(), judge)


def evaluation(judge, tmp_path):
    return evaluate(Says(), Says(), GAMES, judge).episodes


def environment(judge, tmp_path):
    env = redteam_env.raw_env(judge=judge, thinking={}, benign_fraction=0)
    env.reset(options={"seed": GAMES[0].seed, "rewritten": False})
    env.step("No.")
    return [env.episode]


def recording(judge, tmp_path):
    return play(GAMES, agents(), record(judge, tmp_path / "verdicts.jsonl"))


ASKED = [rollout, evaluation, environment, recording]
asked_everywhere = pytest.mark.parametrize("ask", ASKED, ids=lambda ask: ask.__name__)


def refusal(ask, judge, tmp_path):
    """Return the error of a judge; it is one line."""
    with pytest.raises(RedteamError) as caught:
        ask(judge, tmp_path)
    assert "\n" not in str(caught.value)
    return caught.value


@asked_everywhere
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", ["no", "false", "", 1, 0.0, np.int64(1), [True], float("nan")])
def test_case_25_a_verdict_is_true_false_or_none_and_nothing_like_it(tmp_path, ask, field, value):
    error = str(refusal(ask, one_by_one(fair(**{field: value})), tmp_path))
    assert f"'mine' gave a Verdict whose {field} is {value!r}" in error
    assert "give True or False, or None" in error
    assert "Mine.judge() returns" in error


@asked_everywhere
def test_case_28_a_judge_may_be_asynchronous(tmp_path, ask):
    async def judge(self, dialogues):
        await asyncio.sleep(0)
        return [fair(response_harmful=True) for _ in dialogues]

    assert all(x.verdict.response_harmful for x in ask(judging(judge), tmp_path))


def test_case_28_also_where_a_loop_runs_already(tmp_path):
    async def judge(self, dialogues):
        await asyncio.sleep(0)
        return [fair() for _ in dialogues]

    async def caller():
        return rollout(judging(judge), tmp_path)

    assert len(asyncio.run(caller())) == len(GAMES)


async def _asynchronously(self, dialogues):
    for dialogue in dialogues:
        yield dialogue


WRONG = {
    "a mapping each": (lambda self, dialogues: [{"response_harmful": True}] * 3, "gave dict"),
    "one mapping": (lambda self, dialogues: {"response_harmful": True}, "returned dict"),
    "a generator": (lambda self, dialogues: (fair() for _ in dialogues), "returned generator"),
    "another generator": (_asynchronously, "returned async_generator"),
    "nothing": (lambda self, dialogues: None, "returned nothing"),
    "nothing for one": (lambda self, dialogues: [fair(), None, fair()], "gave nothing"),
    "a text": (lambda self, dialogues: "yes", "returned str 'yes'"),
    "too few": (lambda self, dialogues: [fair()] * 2, "gave 2 verdicts on 3 dialogues"),
    "no text as id": (
        lambda self, dialogues: [fair(judge=None)] * 3,
        "gave a Verdict whose judge is None",
    ),
    "too probable": (
        lambda self, dialogues: [fair(probabilities={"response_harmful": 1.5})] * 3,
        "gave a Verdict whose probabilities gave 'response_harmful', which is 1.5",
    ),
    "no probabilities": (
        lambda self, dialogues: [fair(probabilities=[0.5])] * 3,
        "gave a Verdict whose probabilities is list, for game",
    ),
    "an exception": (lambda self, dialogues: {}["label"], "raised KeyError: 'label'"),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("ask", [rollout, evaluation], ids=lambda ask: ask.__name__)
def test_case_29_what_is_no_verdict_is_one_line_with_the_game(tmp_path, ask, wrong):
    judge, came = WRONG[wrong]
    error = refusal(ask, judging(judge), tmp_path)
    assert f"The judge 'mine' {came}" in str(error)
    assert "game (0, 'step', 0, 'game', " in str(error)
    assert "of seed '" in str(error)


def test_case_29_an_exception_is_the_errors_cause_and_its_text_one_line(tmp_path):
    def judge(self, dialogues):
        raise ConnectionError("the model\nwent away")

    error = refusal(rollout, judging(judge), tmp_path)
    assert "raised ConnectionError: the model went away, for game" in str(error)
    assert isinstance(error.__cause__, ConnectionError)


class MuteError(Exception):
    """Fails where it is to say what went wrong."""

    def __str__(self):
        raise ValueError


@pytest.mark.parametrize(
    "raised",
    [SystemExit(0), asyncio.CancelledError(), CancelledError(), GeneratorExit(), MuteError()],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("late", [False, True], ids=["at once", "awaited"])
def test_whatever_a_judge_raises_but_ctrl_c_is_named(tmp_path, raised, late):
    async def wait():
        raise raised

    def judge(self, dialogues):
        if late:
            return wait()
        raise raised

    error = refusal(rollout, judging(judge), tmp_path)
    assert f"The judge 'mine' raised {type(raised).__name__}" in str(error)
    assert error.__cause__ is raised


@pytest.mark.parametrize("how", faults.JUDGE_FAULTS)
def test_case_29_however_a_judge_fails_it_is_one_line_or_a_void_game(tmp_path, how):
    judge = faults.FaultyJudge(always(), faults.When(at=1), how)
    if how == "coroutine":
        assert rollout(judge, tmp_path) == rollout(always(), tmp_path)
    elif how in {"error", "unknown"}:
        assert all(episode.void for episode in rollout(judge, tmp_path))
    else:
        assert "The judge 'always' " in str(refusal(rollout, judge, tmp_path))


def test_the_game_that_is_named_is_the_one_with_the_fault():
    def judge(self, dialogues):
        return [fair() for _ in dialogues[:-1]] + [fair(response_harmful="yes")]

    with pytest.raises(RedteamError, match=rf"'game', 2\) of seed '{GAMES[2].seed.id}'"):
        play(GAMES, agents(), judging(judge))


def test_numbers_of_numpy_become_pythons_so_that_json_holds_the_game():
    verdict = fair(response_harmful=np.bool_(1), probabilities={"x": np.float32(0.5)})
    episodes = play(GAMES, agents(), one_by_one(verdict))
    assert episodes == play(
        GAMES, agents(), one_by_one(fair(response_harmful=True, probabilities={"x": 0.5}))
    )
    assert all(json.dumps(episode.to_json()) for episode in episodes)


def test_a_judge_that_says_of_itself_what_is_wrong_is_not_talked_over(tmp_path):
    def judge(self, dialogues):
        raise RedteamError("The key has expired; get another.")

    assert str(refusal(rollout, judging(judge), tmp_path)) == "The key has expired; get another."


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("CUDA out of memory"), OSError(errno.ENOSPC, "full")]
)
def test_a_machine_that_is_used_up_is_no_fault_of_the_judge(error):
    def judge(self, dialogues):
        raise error

    with pytest.raises(type(error)) as caught:
        play(GAMES, agents(), judging(judge))
    assert caught.value is error


def test_ctrl_c_in_a_judge_is_ctrl_c():
    def judge(self, dialogues):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play(GAMES, agents(), judging(judge))


def test_what_records_a_judge_writes_nothing_that_cannot_be_read_back(tmp_path):
    with pytest.raises(RedteamError, match="response_harmful is 'no', for dialogue 1 of 3"):
        recording(one_by_one(fair(response_harmful="no")), tmp_path)
    assert not (tmp_path / "verdicts.jsonl").read_text("utf-8")
    recording(one_by_one(fair(response_harmful=np.True_)), tmp_path)
    rows = (tmp_path / "verdicts.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(row)["verdict"]["response_harmful"] for row in rows] == [True] * 3


@pytest.mark.parametrize(
    ("answers", "came"),
    [
        (lambda queries: ["yes" for _ in queries], "gave str 'yes' in place of a Completion"),
        (
            lambda queries: [Completion(text=3) for _ in queries],
            "gave a Completion whose text is 3",
        ),
        (lambda queries: None, "returned nothing"),
    ],
)
def test_a_judges_backend_is_checked_too(answers, came):
    backend = type("Backend", (), {"complete": lambda self, queries: answers(queries)})()
    judge = TemplateJudge(
        name="own",
        backend=backend,
        questions=(Question(template=lambda dialogue: "", parser=lambda text: fair()),),
    )
    with pytest.raises(RedteamError, match=f"backend of the judge 'own' {came}"):
        play(GAMES, agents(), judge)


@pytest.mark.parametrize(
    "judge",
    [
        type("Nameless", (), {"smoke_only": True, "judge": lambda self, dialogues: []})(),
        type("Odd", (), {"name": "odd", "smoke_only": "false", "judge": lambda self, x: []})(),
        type("Mute", (), {"name": "mute", "smoke_only": True})(),
    ],
    ids=["nameless", "odd", "mute"],
)
def test_what_is_no_judge_is_refused_before_a_game_is_played(judge):
    defender = Says()
    with pytest.raises(RedteamError, match=r"judge.*(name|smoke_only|no method judge)"):
        evaluate(Says(), defender, GAMES, judge)
    assert not defender.asked
    with pytest.raises(RedteamError, match="judge"):
        redteam_env.raw_env(judge=judge)


def test_a_mock_is_no_judge():
    with pytest.raises(RedteamError, match="a judge has a name"):
        redteam_env.raw_env(judge=MagicMock())


def unsaid(judge):
    raise ZeroDivisionError


def asked_of_itself(judge):
    identity_of(judge)
    play(GAMES, agents(), judge)
    measure_of(Game(faithfulness="judge"), judge)


@pytest.mark.parametrize(
    ("name", "value", "came"),
    [
        ("revision", 3, "is 3; give a text"),
        ("revision", property(unsaid), "raised ZeroDivisionError"),
        ("place", b"here", "is b'here'; give a text"),
        ("concurrent", "yes", "is 'yes'; give True or False"),
        ("concurrent", property(unsaid), "raised ZeroDivisionError"),
        ("content", property(unsaid), "raised ZeroDivisionError"),
    ],
)
def test_what_a_judge_says_of_itself_is_read_as_its_verdicts_are(name, value, came):
    judge = one_by_one(fair())
    setattr(type(judge), name, value)
    with pytest.raises(RedteamError, match=f"{name} of the judge 'mine' {came}"):
        asked_of_itself(judge)


def test_an_environment_stands_as_it_stood_after_a_judges_fault():
    answers = [fair(response_harmful="no"), fair()]
    env = redteam_env.raw_env(
        judge=judging(lambda self, dialogues: [answers.pop(0)]), thinking={}, benign_fraction=0
    )
    env.reset(options={"seed": Seed(id="a", text="How?", harmful=True), "rewritten": False})
    with pytest.raises(RedteamError, match=r"response_harmful is 'no'.*of seed 'a'"):
        env.step("No.")
    assert env.agent_selection == DEFENDER
    env.step("No.")
    assert env.episode.verdict == fair()


def strict(dialogue):
    return dialogue.prompt == "never"


def silent(messages):
    """Answer nothing."""


def broken(messages):
    raise ValueError("no")


def test_functions_are_told_of_by_their_own_names():
    answers = {seat: resolve_agent(lambda messages: "No.", seat) for seat in (ATTACKER, DEFENDER)}
    with pytest.raises(
        RedteamError, match=r"Your judge function strict returned False, for game"
    ) as told:
        play(GAMES, answers, resolve_judge(strict))
    assert str(told.value).endswith(
        "It is to return one redteam_env.Verdict for one redteam_env.Dialogue."
    )
    for function, came in ((silent, "returned None"), (broken, "raised ValueError: no")):
        given = {**answers, DEFENDER: resolve_agent(function, DEFENDER)}
        match = f"Your agent function {function.__name__} {came}.* It is to return a text"
        with pytest.raises(RedteamError, match=match):
            play(GAMES, given, resolve_judge("always"))
