"""Seed sources and suites of others: what is drawn and asked is read before anything is played."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
from test_border_judges import GAMES, Says
from test_rollout import CARD, SOURCE

import redteam_env
from redteam_env import RedteamError, Seed
from redteam_env.evaluation.suites import resolve_suite
from redteam_env.game import DEFENDER
from redteam_env.protocols import QuestionSuite, RequestSuite, TurnRequest
from redteam_env.rollout import schedule
from redteam_env.seeds import ListSource
from redteam_env.seeds.resolve import resolve_seeds
from redteam_env.seeds.source import combine, every_seed

SEED = Seed(id="a", text="How?", harmful=True)


class Source:
    """Draws and lists what it is told to."""

    card = CARD

    def __init__(self, drawn=None, listed=None):
        self.drawn, self.listed = drawn, listed

    def draw(self, n, rng, *, harmful, split="train"):
        return self.drawn(n) if self.drawn else [replace(SEED, harmful=harmful)] * n

    def seeds(self, split):
        return self.listed(split) if self.listed else [SEED]


WRONG = {
    "texts": (lambda n: ["How?"] * n, "gave str 'How?' in place of a Seed"),
    "nothing": (lambda n: None, "returned nothing"),
    "a generator": (lambda n: (SEED for _ in range(n)), "returned generator"),
    "too few": (lambda n: [SEED], "gave 1 seeds where 4 were asked for"),
    "truth as text": (
        lambda n: [replace(SEED, harmful="false")] * n,
        "gave a Seed whose harmful is 'false'",
    ),
    "another label": (lambda n: [replace(SEED, harmful=False)] * n, "gave the benign seed 'a'"),
    "another split": (lambda n: [replace(SEED, split="heldout")] * n, "gave the harmful seed 'a'"),
    "an exception": (lambda n: {}[n], "raised KeyError: '4'"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_seed_is_one_line(wrong):
    drawn, came = WRONG[wrong]
    with pytest.raises(RedteamError) as caught:
        schedule(Source(drawn), 4, path=(0,), benign_fraction=0)
    assert "draw() of the seed source 'tiny' " + came.replace("'4'", "4") in str(caught.value)
    assert "Source.draw() returns as many seeds" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_environment_draws_through_the_same_door():
    env = redteam_env.raw_env(seeds=Source(lambda n: ["How?"] * n), benign_fraction=0)
    with pytest.raises(RedteamError, match=r"draw\(\) of the seed source 'tiny' gave str 'How\?'"):
        env.reset(seed=0)


def test_labels_of_numpy_are_labels():
    source = Source(lambda n: [replace(SEED, harmful=np.bool_(1))] * n)
    (setup,) = schedule(source, 1, path=(0,), benign_fraction=0)
    assert setup.seed == SEED
    assert type(setup.seed.harmful) is bool
    (seed,) = ListSource([replace(SEED, harmful=np.True_)], CARD).seeds("train")
    assert type(seed.harmful) is bool


def test_the_seeds_of_a_split_are_checked_too():
    source = Source(listed=lambda split: [SEED, {"text": "How?"}])
    for use in (every_seed, lambda source: combine([source, SOURCE])):
        with pytest.raises(RedteamError, match=r"seeds\(\) of the seed source 'tiny' gave dict"):
            use(source)


@pytest.mark.parametrize(
    ("card", "match"),
    [
        (None, "card of the seed source .*gave nothing in place of a DataCard"),
        (replace(CARD, licence=3), "card of the seed source .*licence is 3"),
        ({"name": "own"}, "card of the seed source .*gave dict"),
    ],
)
def test_a_source_without_a_right_card_is_refused(card, match):
    source = Source()
    source.card = card
    with pytest.raises(RedteamError, match=match):
        resolve_seeds(source)


def test_a_source_lacks_no_method():
    for lacking in ("draw", "seeds"):
        members = {name: getattr(Source, name) for name in ("draw", "seeds", "card")}
        del members[lacking]
        with pytest.raises(RedteamError, match=rf"no method {lacking}\(\)"):
            resolve_seeds(type("Own", (), members)())


class Requests:
    """A suite of games, with more than its protocol asks for."""

    setups = tuple(GAMES)
    rewritten = False
    refusals = ("No.",)
    extra = "extra"

    def __init__(self, **own):
        vars(self).update(own)

    def attacker(self):
        return self.player


class Questions:
    """A suite of one question."""

    requests = (TurnRequest(seat=DEFENDER, role="defender", messages=[], path=(0,)),)

    def __init__(self, answer=None, **own):
        vars(self).update(own)
        self.answer = answer

    def right(self, k, text):
        return self.answer(text) if self.answer else text == "4"


def suite(made):
    redteam_env.register("suites", "own", lambda **_: made)
    return resolve_suite("own", source=SOURCE, games=3, seed=np.int64(0))


def test_a_suite_is_handed_out_as_it_is():
    requests, questions = suite(Requests(player=Says())), suite(Questions())
    assert isinstance(requests, RequestSuite)
    assert not isinstance(requests, QuestionSuite)
    assert (list(requests.setups), requests.rewritten) == (GAMES, False)
    assert (list(requests.refusals), requests.extra) == (["No."], "extra")
    assert isinstance(requests.attacker(), Says)
    assert isinstance(questions, QuestionSuite)
    assert list(questions.requests) == list(Questions.requests)
    assert (questions.right(0, "4"), questions.right(0, "5")) == (True, False)
    with pytest.raises(AttributeError, match="more"):
        _ = requests.more


def test_a_suite_can_be_copied_and_sent_to_another_process():
    for made in (suite(Requests(player=Says())), suite(Questions())):
        for twin in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
            assert type(twin) is type(made)
            assert isinstance(twin, RequestSuite) == isinstance(made, RequestSuite)
    assert twin.right(0, "4")


@pytest.mark.parametrize(
    ("made", "match"),
    [
        (Requests(setups=[]), "setups of the suite 'own' is empty"),
        (Requests(setups=["How?"]), "setups of the suite 'own' gave str 'How[?]'"),
        (Requests(rewritten="no"), "rewritten of the suite 'own' is 'no'"),
        (Questions(requests=[{"text": "2 + 2"}]), "requests of the suite 'own' gave dict"),
        (Questions(requests=None), "requests of the suite 'own' returned nothing"),
        (object(), "'own' is object, which has neither"),
    ],
)
def test_what_is_no_suite_is_refused_before_anything_is_asked(made, match):
    with pytest.raises(RedteamError, match=match):
        suite(made)


@pytest.mark.parametrize("said", ["no", 1, None, float("nan")])
def test_an_answer_is_right_or_not(said):
    with pytest.raises(RedteamError, match=r"right\(\) of the suite 'own' returned .*question 0"):
        suite(Questions(lambda text: said)).right(0, "4")
    assert suite(Questions(lambda text: np.bool_(text == "4"))).right(0, "4") is True


def test_a_suites_attacker_is_an_agent():
    with pytest.raises(RedteamError, match=r"attacker of the suite 'own' is .*no method act\(\)"):
        suite(Requests(player="refuse")).attacker()
