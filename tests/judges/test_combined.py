"""Judges made of judges."""

import threading
from concurrent.futures import CancelledError

import pytest

from redteam_env.faithfulness import compare
from redteam_env.game import ATTACKER, DEFENDER, Dialogue, Game, Line, RedteamError, Seed, Verdict
from redteam_env.judges import composite, disagreement, resolve_judge, vote
from redteam_env.protocols import Usage
from redteam_env.registry import isolated, register
from redteam_env.utils.threads import stop_event

PATIENCE_S = 30
DIALOGUE = Dialogue(
    lines=(Line(seat=ATTACKER, text="Hello"), Line(seat=DEFENDER, text="Good day to you."))
)


class Fake:
    """Says the same of everything, and counts how often it is asked."""

    def __init__(
        self, *fields, name="fake", smoke_only=False, error=None, scores=(), score=None, **more
    ):
        self.name, self.smoke_only = name, smoke_only
        self.asked = self.readied = 0
        self._verdict = Verdict(
            **dict(
                zip(
                    ("prompt_harmful", "response_refusal", "response_harmful"), fields, strict=False
                )
            ),
            judge=name,
            error=error,
            score=score,
            probabilities=dict(scores),
        )
        vars(self).update(more)

    def judge(self, dialogues):
        self.asked += 1
        return [self._verdict] * len(dialogues)

    def ready(self):
        self.readied += 1


def answers(verdict):
    return verdict.prompt_harmful, verdict.response_refusal, verdict.response_harmful


def said(judge):
    (verdict,) = judge.judge([DIALOGUE])
    return verdict


def test_each_field_comes_from_the_judge_that_is_named_for_it():
    a = Fake(True, True, True, name="a", scores={"prompt_harmful": 0.9, "response_refusal": 0.8})
    b = Fake(False, False, None, name="b", scores={"response_refusal": 0.1})
    found = said(composite({"prompt": a, "refusal": b, "harm": a}))
    assert answers(found) == (True, False, True)
    assert found.probabilities == {"prompt_harmful": 0.9, "response_refusal": 0.1}
    assert a.asked == b.asked == 1


def test_graded_harm_comes_from_the_judge_of_harm():
    a, b = Fake(True, True, True, name="a", score=0.75), Fake(True, True, True, name="b", score=0.5)
    assert said(composite({"prompt": a, "refusal": a, "harm": b})).score == 0.5


def test_a_field_that_its_judge_leaves_unknown_stays_unknown():
    a, b = Fake(True, True, True, name="a"), Fake(None, None, None, name="b")
    assert said(composite({"prompt": b, "refusal": a, "harm": a})).unknown == ("prompt_harmful",)


def test_a_composite_verdict_fails_with_any_of_its_judges():
    a, b = Fake(True, True, True, name="a"), Fake(name="b", error="timed_out")
    found = said(composite({"prompt": a, "refusal": a, "harm": b}))
    assert found.error == "b: timed_out"
    assert answers(found) == (None, None, None)


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        ([True, True, False], True),
        ([False, False, True], False),
        ([True, False], None),
        ([True, True, None], True),
        ([True, None, None], None),
        ([True, False, None], None),
        ([True, True, False, False], None),
    ],
)
def test_a_vote_says_what_more_than_half_say_and_nothing_else(votes, expected):
    parts = [Fake(x, False, False, name=f"judge {k}") for k, x in enumerate(votes)]
    found = said(vote(parts))
    assert answers(found) == (expected, False, False)
    cast = [x for x in votes if x is not None]
    assert found.probabilities["prompt_harmful"] == sum(cast) / len(cast)


def test_a_failed_judge_has_no_vote_and_a_vote_without_majority_is_an_error():
    yes = [Fake(True, False, True, name=f"judge {k}") for k in range(2)]
    broken = Fake(name="broken", error="timed_out")
    assert answers(said(vote([*yes, broken]))) == (True, False, True)
    assert said(vote([yes[0], broken])).error == "1 of 2 judges failed: broken: timed_out"


def test_the_first_judge_decides_and_what_the_second_says_otherwise_is_counted():
    first, second = Fake(True, False, True, name="a"), Fake(True, None, False, name="b")
    judge = disagreement([first, second])
    assert answers(said(judge)) == (True, False, True)
    assert judge.answers["prompt_harmful"] == {(True, True): 1}
    assert judge.answers["response_refusal"] == {(False, None): 1}
    assert list(judge.differing.values()) == [("response_refusal", "response_harmful")]
    assert judge.to_json() == {
        "with": "b",
        "prompt_harmful": {"dialogues": 1, "both_answered": 1, "differing": 0},
        "response_refusal": {"dialogues": 1, "both_answered": 0, "differing": 1},
        "response_harmful": {"dialogues": 1, "both_answered": 1, "differing": 1},
    }


@pytest.mark.parametrize("make", [vote, disagreement])
def test_what_the_parts_are_passes_through(make):
    a = Fake(True, True, True, name="a", concurrent=True, usage=Usage(requests=2))
    b = Fake(True, True, True, name="b", concurrent=True, usage=Usage(requests=3))
    judge = make([a, b])
    assert (judge.smoke_only, judge.concurrent, judge.usage.requests) == (False, True, 5)
    judge.ready()
    assert a.readied == b.readied == 1
    assert make([a, Fake(name="c", notice="Mind the gap.")]).notice == "Mind the gap."
    assert judge.notice is None
    mixed = make([a, Fake(name="c", smoke_only=True)])
    assert (mixed.smoke_only, mixed.concurrent) == (True, False)


class Served(Fake):
    """A judge at a server, which answers only while the other one is asked, too."""

    concurrent = True

    def __init__(self, *fields, barrier, **more):
        super().__init__(*fields, **more)
        self.barrier = barrier
        self.threads = set()

    def judge(self, dialogues):
        self.barrier.wait(PATIENCE_S)
        self.threads.add(threading.current_thread())
        return super().judge(dialogues)


def test_parts_at_servers_are_asked_at_once_and_those_in_this_process_in_its_thread():
    barrier = threading.Barrier(2)
    a = Served(True, True, True, name="a", barrier=barrier)
    b = Served(False, False, False, name="b", barrier=barrier)
    here = Fake(True, True, True, name="here")
    threads = []
    here.judge = lambda asked: (
        threads.append(threading.current_thread()) or [here._verdict for _ in asked]
    )
    found = composite({"prompt": here, "refusal": a, "harm": b}).judge([DIALOGUE] * 3)
    assert [answers(x) for x in found] == [(True, True, False)] * 3
    assert [x.raw.splitlines()[1:] for x in found] == [["a: yes yes yes", "b: no no no"]] * 3
    assert threads == [threading.current_thread()]
    assert not any(thread.is_alive() for thread in (a.threads | b.threads) - {threads[0]})


def test_the_same_judge_is_never_asked_twice_at_once():
    class Single(Fake):
        concurrent, lock = True, threading.Lock()

        def judge(self, dialogues):
            assert self.lock.acquire(blocking=False)
            try:
                return super().judge(dialogues)
            finally:
                self.lock.release()

    single = Single(True, True, True, name="one")
    assert answers(said(vote([single, single, Fake(name="b")]))) == (True, True, True)


def test_a_part_that_raises_ends_the_call_with_its_error_and_the_others_stop():
    barrier = threading.Barrier(2)
    seen = []

    class Waits(Served):
        def judge(self, dialogues):
            self.barrier.wait(PATIENCE_S)
            seen.append(stop_event().wait(PATIENCE_S))
            raise CancelledError

    class Broken(Served):
        def judge(self, dialogues):
            self.barrier.wait(PATIENCE_S)
            raise ValueError("made to fail")

    parts = [Waits(name="a", barrier=barrier), Broken(name="b", barrier=barrier)]
    with pytest.raises(RedteamError, match="The judge 'b' raised ValueError: made to fail"):
        vote(parts).judge([DIALOGUE])
    assert seen == [True]


class Measure:
    def __init__(self, score):
        self.score = score

    def scores(self, seeds, rewrites):
        return [self.score] * len(seeds)


@pytest.mark.parametrize("make", [vote, disagreement])
def test_rewrites_are_compared_by_the_part_that_can(make):
    able = Fake(True, True, True, name="able", content=Measure(0.75))
    unable = Fake(True, True, True, name="unable")
    game, seeds = Game(faithfulness="judge"), [Seed(id="a", text="Write a rhyme.", harmful=False)]
    assert compare(game, make([able, unable]), seeds, ["A rhyme, please."]) == [0.75]
    assert (
        make([unable, unable] if make is disagreement else [unable, Fake(name="b")]).content is None
    )


def test_the_part_for_prompts_compares_first_and_the_second_of_two_never():
    one, two = (
        Fake(True, True, True, name=name, content=Measure(score))
        for name, score in (("one", 1.0), ("two", 0.5))
    )
    unable = Fake(True, True, True, name="unable")
    assert composite({"prompt": two, "refusal": one, "harm": one}).content is two.content
    assert composite({"prompt": unable, "refusal": one, "harm": two}).content is one.content
    assert disagreement([unable, two]).content is None


def test_parts_are_spelled_on_one_line_with_options_of_their_own():
    found = resolve_judge("vote:lexical+always?response_harmful=unknown&prompt_harmful=false")
    assert answers(said(found)) == (False, False, None)
    assert "lexical" in found.name
    found = resolve_judge(
        "composite:prompt=always?prompt_harmful=true,refusal=lexical,harm=lexical"
    )
    assert answers(said(found)) == (True, False, False)
    nested = resolve_judge("composite:prompt=vote:lexical+always,refusal=lexical,harm=lexical")
    assert said(nested).unknown == ("prompt_harmful",)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("vote:lexical", "two or more"),
        ("vote:lexical+lexical", "twice"),
        ("vote:lexical+", "empty part"),
        ("vote:lexical+lexicle", "lexicle"),
        ("vote", "vote:NAME"),
        ("disagreement:lexical+always+recorded?file=x", "x"),
        ("composite:prompt=lexical", "no judge for refusal, harm"),
        ("composite:prompt=lexical,harm=lexical,refusal=lexical,mood=lexical", "mood"),
        ("composite:lexical", "FIELD=JUDGE"),
        ("lexical:always", "lexical:always"),
        ("always?prompt=true", "prompt"),
    ],
)
def test_a_wrong_specification_is_refused_in_words(spec, message):
    with pytest.raises(RedteamError, match=message.replace("+", r"\+")) as refused:
        resolve_judge(spec)
    assert "\n" not in str(refused.value)


def test_the_url_goes_to_the_parts_that_ask_a_server():
    def asking(url=None):
        return Fake(name=f"at {url}")

    with isolated():
        register("judges", "asking", asking)
        found = resolve_judge("vote:lexical+asking", url="http://a")
        assert [part.name for part in found.parts][1] == "at http://a"
        own = resolve_judge("vote:asking?url=http://b+asking", url="http://a")
        assert [part.name for part in own.parts] == ["at http://b", "at http://a"]
    with pytest.raises(RedteamError, match="takes no url"):
        resolve_judge("vote:lexical+always", url="http://a")


def test_parts_that_are_to_be_told_the_seeds_are_told():
    judge = resolve_judge("composite:prompt=seed_labels,refusal=lexical,harm=lexical")
    assert said(judge).unknown == ("prompt_harmful",)
    seeds = [Seed(id="s", text="How?", harmful=harmful) for harmful in (True, False)]
    found = judge.judge_seeded([DIALOGUE] * 2, seeds)
    assert [x.prompt_harmful for x in found] == [True, False]


def test_what_is_no_judge_is_no_part():
    with pytest.raises(RedteamError, match="judge"):
        vote([Fake(name="a"), object()])
