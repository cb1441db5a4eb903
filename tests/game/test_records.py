import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redteam_env.game import (
    Dialogue,
    Episode,
    Exchange,
    Generation,
    Line,
    RedteamError,
    Seed,
    Turn,
    Verdict,
    role_of,
)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
number = st.floats(allow_nan=False, allow_infinity=False)
truth = st.sampled_from([True, False, None])
seats = st.sampled_from(["attacker_0", "defender_0"])


@st.composite
def generations(draw):
    ids = draw(st.lists(st.integers(0, 10**6), max_size=4))
    return Generation(
        prompt_ids=tuple(draw(st.lists(st.integers(0, 10**6), max_size=4))),
        completion_ids=tuple(ids),
        logprobs=tuple(draw(st.lists(number, min_size=len(ids), max_size=len(ids)))),
        adapter=draw(text),
        version=draw(st.integers(0, 99)),
        temperature=draw(st.floats(0, 2)),
        finished=draw(st.booleans()),
    )


turns = st.builds(
    Turn,
    seat=seats,
    text=text,
    visible=text,
    thought=text,
    well_formed=st.booleans(),
    forfeit=st.booleans(),
    truncated=st.booleans(),
    generation=st.none() | generations(),
)
verdicts = st.builds(
    Verdict,
    prompt_harmful=truth,
    response_refusal=truth,
    response_harmful=truth,
    probabilities=st.dictionaries(text, number, max_size=3),
    raw=text,
    judge=text,
    error=st.none() | text,
    score=st.none() | st.floats(0, 1),
)
episodes = st.builds(
    Episode,
    seed=st.builds(
        Seed, id=text, text=text, harmful=st.booleans(), category=text, source=text, split=text
    ),
    rewritten=st.booleans(),
    turns=st.lists(turns, max_size=4).map(tuple),
    verdict=st.none() | verdicts,
    rewards=st.dictionaries(seats, number),
    components=st.dictionaries(seats, st.dictionaries(text, number, max_size=3)),
    samples=st.lists(seats, max_size=2).map(tuple),
    void=st.none() | text,
    path=st.lists(text | st.integers(-(10**9), 10**9), max_size=4).map(tuple),
    group=st.integers(0, 9),
)


@given(episodes)
def test_an_episode_survives_the_round_trip_through_json(episode):
    line = episode.to_json()
    assert line.isascii()
    assert "\n" not in line
    assert Episode.from_json(line) == episode


@given(episodes, verdicts)
def test_a_line_without_a_graded_score_is_as_it_was_before_there_were_any(episode, verdict):
    plain = dataclasses.replace(episode, verdict=dataclasses.replace(verdict, score=None))
    line = json.loads(plain.to_json())
    assert "score" not in line["verdict"]
    assert Episode.from_json(json.dumps(line)) == plain


@pytest.mark.parametrize(
    "line",
    [
        *("", "no json", "3", "[]", "{}", '{"schema": 1}'),
        *(
            '{"schema": 1, "seed": 3, "verdict": null}',
            pytest.param("[" * 100_000, id="deep"),
            pytest.param("1" * 5_000, id="huge"),
        ),
    ],
)
def test_a_line_that_is_no_episode_is_shown(line):
    with pytest.raises(RedteamError, match="is no episode"):
        Episode.from_json(line)


@given(episodes)
def test_an_unknown_field_is_no_episode(episode):
    data = json.loads(episode.to_json())
    with pytest.raises(RedteamError, match="extra"):
        Episode.from_json(json.dumps({**data, "extra": 1}))


@given(episodes)
def test_another_schema_is_refused(episode):
    data = json.loads(episode.to_json())
    with pytest.raises(RedteamError, match=r"schema 99.* Read it with the version that wrote it\."):
        Episode.from_json(json.dumps({**data, "schema": 99}))


def test_every_token_has_a_log_probability():
    with pytest.raises(
        RedteamError, match=r"2 tokens has 1 log-probabilities; give one for each token\.$"
    ):
        Generation(
            prompt_ids=(1,),
            completion_ids=(1, 2),
            logprobs=(0.0,),
            adapter="base",
            version=0,
            temperature=1.0,
            finished=True,
        )


def test_prompt_and_response_are_the_last_lines_of_each_role():
    lines = [("attacker_0", "a1"), ("defender_0", "d1"), ("attacker_0", "a2"), ("defender_0", "d2")]
    dialogue = Dialogue(lines=tuple(Line(seat=seat, text=text) for seat, text in lines))
    assert (dialogue.prompt, dialogue.response) == ("a2", "d2")
    assert (Dialogue(lines=()).prompt, Dialogue(lines=()).response) == ("", "")


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        (Verdict(prompt_harmful=True, response_refusal=True, response_harmful=False), None),
        (Verdict(error="timeout"), "judge error: timeout"),
        (
            Verdict(prompt_harmful=False, response_refusal=None, response_harmful=None),
            "judge left unknown: response_refusal, response_harmful",
        ),
    ],
)
def test_a_verdict_says_why_it_voids_a_game(verdict, reason):
    assert verdict.void_reason == reason


def test_the_role_is_the_seat_without_its_number():
    assert role_of("attacker_0") == "attacker"
    assert role_of("second_judge_12") == "second_judge"


def test_tokens_come_back_from_a_line_as_they_were():
    tokens = Generation(
        prompt_ids=(1, 2),
        completion_ids=(3,),
        logprobs=(-0.5,),
        adapter="defender",
        version=4,
        temperature=1.0,
        finished=True,
    )
    turn = Turn(seat="defender_0", text="D", visible="D", generation=tokens)
    (again,) = Episode.from_json(an_episode(turns=(turn,)).to_json()).turns
    assert again == turn
    assert hash(again.generation) == hash(tokens)


def an_episode(**fields):
    given = {
        "seed": Seed(id="1", text="a request", harmful=True),
        "rewritten": False,
        "turns": (),
        "verdict": None,
        "rewards": {},
        "components": {},
        "samples": (),
    }
    return Episode(**{**given, **fields})


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_line_is_valid_json_or_is_not_written(wrong):
    with pytest.raises(ValueError, match="not JSON compliant"):
        an_episode(rewards={"defender_0": wrong}).to_json()


def test_a_wrong_line_is_shown_from_its_start_with_the_cause():
    line = "x" * 200
    with pytest.raises(RedteamError) as caught:
        Episode.from_json(line)
    text = str(caught.value)
    assert text.startswith("This line is no episode (Expecting value")
    assert f"'{'x' * 80}'" in text
    assert text.endswith(". Each line of a transcript must be what Episode.to_json wrote.")
    with pytest.raises(RedteamError, match=r"no episode .*: \"\{'schema': \d+, 'odd': 1\}\""):
        Episode.from_record({"schema": json.loads(an_episode().to_json())["schema"], "odd": 1})


def test_a_seat_that_an_exchange_does_not_pay_gets_nothing():
    exchange = Exchange(verdict=Verdict(), components={"attacker_0": {"harm": 1.0, "format": 0.5}})
    assert exchange.reward("attacker_0") == 1.5
    assert exchange.reward("defender_0") == 0.0
