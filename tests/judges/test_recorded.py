import pytest
from hypothesis import given
from hypothesis import strategies as st

from redteam_env.game import ATTACKER, DEFENDER, Dialogue, Line, RedteamError, Verdict
from redteam_env.judges import always, check_ready, dialogue_key, lexical, record, recorded


def talk(*texts: str) -> Dialogue:
    seats = [ATTACKER, DEFENDER] * len(texts)
    return Dialogue(
        lines=tuple(Line(seat=seat, text=text) for seat, text in zip(seats, texts, strict=False))
    )


class Strange:
    """A judge whose verdicts hold everything that a verdict can hold."""

    name = "strange"
    smoke_only = False

    def __init__(self):
        self.asked_if_ready = 0

    def ready(self):
        self.asked_if_ready += 1

    def judge(self, dialogues):
        return [
            Verdict(error="timed out", judge=self.name)
            if len(dialogue.prompt) % 2
            else Verdict(
                prompt_harmful=True,
                response_harmful=False,
                probabilities={"prompt_harmful": 0.25},
                raw="two\nlines \u2028 \ud800 \x1b[31m",
                judge=self.name,
            )
            for dialogue in dialogues
        ]


@pytest.mark.parametrize(("given_as", "meant"), [(True, True), ("False", False), ("unknown", None)])
def test_always_says_the_same(given_as, meant):
    first, second = always(given_as, given_as, given_as).judge([talk("a"), talk("b", "c")])
    assert first == second
    fields = {first.prompt_harmful, first.response_refusal, first.response_harmful}
    assert fields == {meant}
    assert (first.void_reason is None) is (meant is not None)


def test_always_refuses_other_values_and_lists_the_right_ones():
    with pytest.raises(RedteamError, match=r"response_refusal 'maybe'.*false, true, unknown"):
        always(response_refusal="maybe")
    with pytest.raises(RedteamError, match="prompt_harmful 1"):
        always(1)


def test_a_record_plays_back_what_the_other_judge_said(tmp_path):
    talks = [talk("a", "b"), talk("ab", "\ud800"), talk("", ""), talk("\x1b", "c", "d", "e")]
    judge = record(Strange(), tmp_path / "new" / "verdicts.jsonl")
    said = [*judge.judge(talks[:3]), *judge.judge(talks[3:])]
    back = recorded(tmp_path / "new" / "verdicts.jsonl").judge(list(reversed(talks)))
    assert list(reversed(back)) == said
    assert said == Strange().judge(talks)


def test_a_recording_judge_passes_for_the_other_one(tmp_path):
    inner = Strange()
    judge = record(inner, tmp_path / "verdicts.jsonl")
    check_ready(judge)
    assert inner.asked_if_ready == 1
    assert (judge.name, judge.smoke_only) == ("strange", False)
    assert recorded(tmp_path / "verdicts.jsonl").verdicts == {}


def test_a_record_is_continued_and_its_last_word_counts(tmp_path):
    path = tmp_path / "verdicts.jsonl"
    record(lexical(), path).judge([talk("a", "b"), talk("c", "d")])
    path.write_text(path.read_text().rstrip("\n"))
    record(always(), path).judge([talk("c", "d")])
    first, second = recorded(path).judge([talk("a", "b"), talk("c", "d")])
    assert (first.judge, second.judge) == (lexical().name, "always")


def test_an_unrecorded_dialogue_is_an_error_that_names_its_key():
    judge = recorded(verdicts={dialogue_key(talk("a")): Verdict(prompt_harmful=True)})
    known, unknown = judge.judge([talk("a"), talk("b")])
    assert known.error is None
    assert dialogue_key(talk("b")) in unknown.error
    assert unknown.void_reason


def test_a_file_that_is_no_record_is_named_with_its_line_and_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    record(lexical(), path).judge([talk("a", "b")])
    torn = path.read_text() + '{"schema": 1, "key": "ab'
    path.write_text(torn)
    with pytest.raises(RedteamError, match=r"Line 2 of .*notes.txt"):
        recorded(path)
    with pytest.raises(RedteamError, match="Line 2"):
        record(lexical(), path)
    assert path.read_text() == torn


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "{}",
        pytest.param("[" * 100_000, id="deep"),
        pytest.param("1" * 5_000, id="huge"),
        '{"schema": 2, "key": "a", "verdict": {}}',
        '{"schema": 1, "key": 3, "verdict": {}}',
        '{"schema": 1, "key": "a", "verdict": {"prompt_harmful": "yes"}}',
        '{"schema": 1, "key": "a", "verdict": {"colour": "red"}}',
        '{"schema": 1, "key": "a", "verdict": null}',
    ],
)
def test_a_line_that_is_no_verdict_is_refused(tmp_path, line):
    path = tmp_path / "bad.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(RedteamError, match="Line 1"):
        recorded(path)


def test_a_missing_record_and_a_double_one_are_errors(tmp_path):
    with pytest.raises(RedteamError, match="cannot be read"):
        recorded(tmp_path / "none.jsonl")
    for wrong in ({}, {"file": "x", "verdicts": {}}):
        with pytest.raises(RedteamError, match="either file or verdicts"):
            recorded(**wrong)


def test_a_record_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RedteamError, match="cannot be written"):
        record(lexical(), tmp_path / "file" / "verdicts.jsonl")


LINES = st.lists(st.text(max_size=3), max_size=4)


@given(LINES, LINES)
def test_dialogues_have_the_same_key_only_if_they_are_the_same(one, other):
    assert (dialogue_key(talk(*one)) == dialogue_key(talk(*other))) is (one == other)
