import numpy as np
import pytest

from redteam_env.embedders import HashingEmbedder
from redteam_env.evaluation.rewrites import MOST, variety
from redteam_env.game import ATTACKER, DEFENDER, Episode, RedteamError, Seed, Turn


def game(seed, *texts, rewritten=True, forfeit=False):
    turns = [
        Turn(seat=seat, text=text, visible="" if forfeit else text, forfeit=forfeit)
        for text in texts
        for seat in (ATTACKER, DEFENDER)
    ]
    return Episode(
        seed=Seed(id=seed, text=seed, harmful=True),
        rewritten=rewritten,
        turns=tuple(turns),
        verdict=None,
        rewards={},
        components={},
        samples=(),
    )


def test_rewrites_that_repeat_each_other_are_less_varied_than_others():
    same = variety([game(f"seed {k}", "say the same thing again") for k in range(4)])
    other = variety([game(f"seed {k}", f"thing {k} about topic{k} said{k} so") for k in range(4)])
    assert same.near_duplicates == 0.75
    assert other.near_duplicates == 0.0
    assert same.distinct_2 < other.distinct_2
    assert same.embedding_distance is same.seed_similarity is None


def test_an_embedder_tells_the_distance_of_rewrites_and_from_seeds():
    embedder = HashingEmbedder()
    copied = variety(
        [game(text, text) for text in ("bake a cake", "hide it")], embedder, name="hashing"
    )
    assert copied.seed_similarity == pytest.approx(1.0)
    assert copied.embedding_distance > 0.5
    assert copied.embedder == "hashing"
    same = variety([game("a", "hide it"), game("b", "hide it")], embedder)
    assert same.embedding_distance == pytest.approx(0.0, abs=1e-6)


def test_raw_and_forfeited_games_have_no_rewrite():
    games = [game("a", "x"), game("b", "y", rewritten=False), game("c", "z", forfeit=True)]
    assert variety(games) is None
    assert variety([*games, game("d", "w")]).rewrites == 2


def test_of_many_rewrites_some_are_compared():
    games = [game("a", f"text number {k}") for k in range(MOST + 50)]
    assert variety(games).rewrites == MOST


def test_a_faulty_embedder_is_refused():
    class Faulty:
        def embed(self, texts):
            return np.full((len(texts), 2), np.nan)

    with pytest.raises(RedteamError, match="finite"):
        variety([game("a", "x"), game("b", "y")], Faulty())
