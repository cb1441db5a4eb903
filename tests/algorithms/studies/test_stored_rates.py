"""A rate counted in stored games is the rate of the same name counted in the games themselves."""

import itertools

import pytest

from algorithms.studies.games import CROSS, Who, game_rows, read_tables, write_table
from algorithms.studies.rates import attacks, faithful_attacks, refusals, share
from redteam_env.evaluation import OUTCOMES
from redteam_env.game import ATTACKER, DEFENDER, Episode, Seed, Turn, Verdict

WHO = Who(kind=CROSS, attacker="a", defender="d", attacker_seed=0, defender_seed=0, step=0)


def game(harmful, labels, *, rewritten, void=None):
    seats = (ATTACKER, DEFENDER) if rewritten else (DEFENDER,)
    names = ("prompt_harmful", "response_refusal", "response_harmful")
    return Episode(
        seed=Seed(id="s", text="s", harmful=harmful),
        rewritten=rewritten,
        turns=tuple(Turn(seat=seat, text="x", visible="x") for seat in seats),
        verdict=None if labels is None else Verdict(**dict(zip(names, labels, strict=True))),
        rewards={},
        components={},
        samples=(),
        void=void,
    )


def games(rewritten):
    """Games with every verdict, forfeited ones and void ones, of both labels."""
    verdicts = [None, *itertools.product((True, False), repeat=3)]
    return [
        game(harmful, labels, rewritten=rewritten, void=void)
        for harmful in (True, False)
        for labels in verdicts
        for void in (None, "judge error")
    ]


@pytest.mark.parametrize(
    ("name", "counted", "rewritten"),
    [
        ("attack_success", attacks, True),
        ("faithful_attack_success", faithful_attacks, True),
        ("over_refusal_rewritten", refusals, True),
        ("raw_attack_success", attacks, False),
        ("over_refusal_raw", refusals, False),
    ],
)
def test_stored_games_have_the_rates_of_the_games(tmp_path, name, counted, rewritten):
    played = games(rewritten)
    write_table(tmp_path / "games.parquet", game_rows(WHO, played, void=True))
    wanted = [x for x in map(OUTCOMES[name], played) if x is not None]
    found = counted(read_tables([tmp_path / "games.parquet"]))
    assert found.tolist() == wanted
    assert 0 < share(found) < 1


def test_a_rate_without_games_has_no_share(tmp_path):
    write_table(tmp_path / "games.parquet", [])
    assert share(attacks(read_tables([tmp_path / "games.parquet"]))) is None


def test_there_is_no_success_where_the_attacker_forfeited_every_game(tmp_path):
    lost = game(True, None, rewritten=True)
    write_table(tmp_path / "games.parquet", game_rows(WHO, [lost, lost], void=True))
    found = read_tables([tmp_path / "games.parquet"])
    assert share(attacks(found)) is None
    assert share(faithful_attacks(found)) is None
