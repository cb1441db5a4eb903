import json

import pytest

from redteam_env.evaluation import crossplay, evaluate, heldout_setups
from redteam_env.game import Game, RedteamError


@pytest.fixture
def setups(source):
    return heldout_setups(source, 16, 0)


@pytest.fixture
def attackers(say):
    return {
        "echo": say(lambda request: request.seed.text),
        "soft": say(lambda _: "something kind"),
    }


@pytest.fixture
def defenders(say):
    return {
        "parrot": say(lambda request: request.messages[-1]["content"]),
        "no": say(lambda _: "NO"),
        "broken": say(lambda _: "BROKEN"),
    }


def test_every_cell_equals_the_single_matchup(attackers, defenders, setups, judge):
    table = crossplay(attackers, defenders, setups, judge)
    for (a, d), cell in table.cells.items():
        assert cell == evaluate(attackers[a], defenders[d], setups, judge, names=(a, d))


def test_rewrites_and_raw_answers_are_made_once(attackers, defenders, setups, judge):
    crossplay(attackers, defenders, setups, judge)
    assert all(agent.asked == [8] for agent in attackers.values())
    assert all(sum(agent.asked) == 8 + 2 * 8 for agent in defenders.values())
    assert judge.seen == 3 * 8 + 6 * 8


def test_games_played_hold_each_raw_game_once(attackers, defenders, setups, judge):
    table = crossplay(attackers, defenders, setups, judge)
    assert len(table.played) == 3 * 8 + 6 * 8
    assert sum(game.void is not None for game in table.played) == 8 + 2 * 8


def test_differences_are_against_the_first_column_of_the_same_row(
    attackers, defenders, setups, judge
):
    found = crossplay(attackers, defenders, setups, judge).differences
    assert found["attack_success"]["echo", "no"].value == -1
    assert found["attack_success"]["soft", "no"].value == 0
    assert found["over_refusal_raw"]["echo", "no"].value == 1
    assert found["attack_success"]["echo", "broken"].n == 0
    assert ("echo", "parrot") not in found["attack_success"]


def test_results_do_not_depend_on_batch_size(attackers, defenders, setups, judge):
    whole = crossplay(attackers, defenders, setups, judge)
    assert crossplay(attackers, defenders, setups, judge, batch_size=3) == whole


def test_progress_names_the_pairing(attackers, defenders, setups, judge):
    seen = []
    crossplay(attackers, defenders, setups, judge, progress=lambda *x: seen.append(x))
    assert ("echo against no: defender_0", 8, 8) in seen
    assert ("raw requests to no: defender_0", 8, 8) in seen


def test_json_form_is_plain_and_whole(attackers, defenders, setups, judge):
    table = crossplay(attackers, defenders, setups, judge)
    data = json.loads(json.dumps(table.to_json(), allow_nan=False))
    assert data["attackers"] == ["echo", "soft"]
    assert len(data["cells"]) == 6
    assert len(data["differences"]) == 3 * 2 * 2
    void = next(x for x in data["cells"] if x["defender"] == "broken")
    assert void["rates"]["void"] == 16
    assert void["rates"]["attack_success"]["rate"] is None


def test_an_empty_side_is_an_error(attackers, setups, judge):
    with pytest.raises(RedteamError, match="at least one attacker and one defender"):
        crossplay(attackers, {}, setups, judge)


def test_later_turns_of_long_games_are_asked_for_each_opponent(
    attackers, defenders, setups, judge, say
):
    last = say(lambda request: request.messages[-1]["content"])
    table = crossplay({"last": last}, defenders, setups, judge, game=Game(exchanges=2))
    assert sum(last.asked) == 8 + 3 * 8
    alone = evaluate(last, defenders["no"], setups, judge, game=Game(exchanges=2))
    assert table.cells["last", "no"].episodes == alone.episodes


def test_an_agent_that_swallows_replies_is_caught(defenders, setups, judge):
    class Short:
        def act(self, requests):
            return []

    with pytest.raises(RedteamError, match="0 replies to 8 requests"):
        crossplay({"short": Short()}, defenders, setups, judge)
