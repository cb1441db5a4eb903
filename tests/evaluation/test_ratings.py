import sys

import pytest

from redteam_env import RedteamError
from redteam_env.evaluation.ratings import Duel, ratings
from redteam_env.randomness import generator


def duels(strength, games=60):
    draws = generator(("duels",))
    return [
        Duel(attacker=a, defender=d, attacker_won=bool(draws.random() < p))
        for (a, d), p in strength.items()
        for _ in range(games)
    ]


def rated(found):
    return ratings(found, generator(("order",)))


def test_who_wins_more_is_rated_higher_in_both_seats():
    attackers, defenders = rated(
        duels(
            {
                ("strong", "weak"): 0.95,
                ("strong", "firm"): 0.5,
                ("soft", "weak"): 0.5,
                ("soft", "firm"): 0.05,
            }
        )
    )
    assert attackers["strong"].ordinal > attackers["soft"].mean
    assert defenders["firm"].ordinal > defenders["weak"].mean


def test_one_name_may_play_both_seats_and_games_are_counted():
    attackers, defenders = rated([Duel(attacker="x", defender="x", attacker_won=True)] * 3)
    assert attackers["x"].games == defenders["x"].games == 3
    assert attackers["x"].mean > 25 > defenders["x"].mean


def test_more_games_leave_less_doubt():
    few, _ = rated(duels({("a", "d"): 0.5}, games=2))
    many, _ = rated(duels({("a", "d"): 0.5}, games=60))
    assert many["a"].deviation < few["a"].deviation < 25 / 3


def test_the_same_generator_gives_the_same_ratings():
    games = duels({("a", "d"): 0.4, ("b", "d"): 0.6})
    assert rated(games) == rated(games)


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "openskill.models", None)
    with pytest.raises(RedteamError, match="openskill"):
        rated([Duel(attacker="a", defender="d", attacker_won=True)])
