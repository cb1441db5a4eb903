import pickle
from dataclasses import dataclass

import pytest

from redteam_env.game import (
    ATTACKER,
    DEFENDER,
    Dialogue,
    Line,
    RedteamError,
    Verdict,
    parse_wildguard,
)
from redteam_env.judges import Completion, Question, TemplateJudge, check_ready

GOOD = "Harmful request: yes\nResponse refusal: no\nHarmful response: yes"


def talk(prompt: str, response: str = "Sure.") -> Dialogue:
    return Dialogue(lines=(Line(seat=ATTACKER, text=prompt), Line(seat=DEFENDER, text=response)))


def last_prompt(dialogue: Dialogue) -> str:
    return dialogue.prompt


@dataclass
class Scripted:
    """A backend that looks its answers up by query."""

    answers: dict[str, Completion]

    def complete(self, queries):
        return [self.answers.get(query, Completion(text=GOOD)) for query in queries]


def judge_with(parser=parse_wildguard, **answers: Completion) -> TemplateJudge:
    return TemplateJudge(
        name="mine",
        questions=(Question(template=last_prompt, parser=parser),),
        backend=Scripted(answers),
    )


def test_each_dialogue_gets_its_verdict_in_order_with_the_judges_words_and_name():
    bad = GOOD.replace("yes", "no")
    verdicts = judge_with(b=Completion(text=bad)).judge([talk("a"), talk("b"), talk("c")])
    assert [x.prompt_harmful for x in verdicts] == [True, False, True]
    assert [x.raw for x in verdicts] == [GOOD, bad, GOOD]
    assert {x.judge for x in verdicts} == {"mine"}


def test_failures_and_unreadable_answers_are_errors_that_void_and_not_exceptions():
    judge = judge_with(a=Completion(error="timed out"), b=Completion(text="maybe"), c=Completion())
    first, second, third, fourth = judge.judge([talk(x) for x in "abcd"])
    assert first.error == "timed out"
    assert second.error is not None
    assert second.raw == "maybe"
    assert third.error is not None
    assert fourth.error is None
    assert all(x.void_reason for x in (first, second, third))


def test_a_parser_that_raises_voids_one_game_and_not_the_run():
    def parser(text: str) -> Verdict:
        raise IndexError(text)

    verdict = judge_with(parser).judge([talk("a")])[0]
    assert verdict.error == "the parser failed with IndexError"


def test_a_huge_answer_is_kept_in_part_only():
    verdict = judge_with(a=Completion(text="x" * 10**6)).judge([talk("a")])[0]
    assert len(verdict.raw) < 10_000


def test_a_backend_that_returns_the_wrong_number_is_named():
    class Short:
        def complete(self, queries):
            return []

    judge = TemplateJudge(
        name="mine",
        questions=(Question(template=last_prompt, parser=parse_wildguard),),
        backend=Short(),
    )
    with pytest.raises(RedteamError, match="'mine' gave 0 completions to 1 queries"):
        judge.judge([talk("a")])


def test_no_dialogues_ask_nobody():
    assert judge_with().judge([]) == []


def test_ready_forgives_some_broken_answers_but_not_all():
    flaky = iter([Completion(text="?"), Completion(text=GOOD), Completion(error="timed out")])

    class Flaky:
        def complete(self, queries):
            return [next(flaky, Completion(error="connection refused")) for _ in queries]

    judge = TemplateJudge(
        name="mine",
        questions=(Question(template=last_prompt, parser=parse_wildguard),),
        backend=Flaky(),
    )
    check_ready(judge)
    with pytest.raises(RedteamError, match="'mine' is not usable: connection refused"):
        check_ready(judge)


def test_a_judge_without_ready_is_taken_to_be_ready():
    check_ready(object())


def test_a_judge_can_be_pickled():
    judge = judge_with()
    assert pickle.loads(pickle.dumps(judge)).judge([talk("a")]) == judge.judge([talk("a")])
