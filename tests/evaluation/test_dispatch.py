import pytest

from redteam_env.evaluation import Dispatcher, MemoAgent
from redteam_env.game import RedteamError
from redteam_env.protocols import TurnRequest


def request(game, seat="attacker_0"):
    path = (*game, seat, "sample", 0)
    return TurnRequest(seat=seat, role="attacker", messages=(), path=path, game=game)


def test_each_game_is_answered_by_the_agent_that_was_chosen_for_it(say):
    agents = {
        "odd": say(lambda r: f"odd {r.game[-1]}"),
        "even": say(lambda r: f"even {r.game[-1]}"),
    }
    both = Dispatcher(agents=agents, choose=lambda r: "odd" if r.game[-1] % 2 else "even")
    replies = both.act([request((0, "game", k)) for k in range(5)])
    assert [reply.text for reply in replies] == ["even 0", "odd 1", "even 2", "odd 3", "even 4"]
    assert (agents["odd"].asked, agents["even"].asked) == ([2], [3])
    assert both.act([]) == []


def test_an_agent_that_swallows_replies_is_named():
    class Short:
        def act(self, requests):
            return []

    both = Dispatcher(agents={"short": Short()}, choose=lambda _: "short")
    with pytest.raises(RedteamError, match="attacker_0 gave 0 replies to 1 requests"):
        both.act([request((0, "game", 0))])


def test_memo_keeps_the_order_of_repeated_requests(say):
    def request(k):
        messages = [{"role": "user", "content": str(k)}]
        return TurnRequest(seat="attacker_0", role="attacker", messages=messages, path=(k,))

    agent = say(lambda r: f"said {r.path[0]}")
    memo = MemoAgent(agent)
    assert [x.text for x in memo.act([request(1), request(2), request(1)])] == [
        "said 1",
        "said 2",
        "said 1",
    ]
    assert [x.text for x in memo.act([request(3), request(2)])] == ["said 3", "said 2"]
    assert agent.asked == [2, 1]


class Sure:
    """Says how probable an answer is: as its name, and the game, have it."""

    def __init__(self, value):
        self.value = value

    def act(self, requests):
        raise AssertionError

    def log_odds(self, requests, texts):
        return [self.value + x.game[-1] for x in requests]


def test_the_odds_of_an_answer_are_those_of_who_gives_it():
    both = Dispatcher(
        agents={"odd": Sure(10), "even": Sure(20)},
        choose=lambda r: "odd" if r.game[-1] % 2 else "even",
    )
    assert both.log_odds([request((0, k)) for k in range(4)], ["no"]) == [20, 11, 22, 13]


def test_who_cannot_say_how_probable_its_answers_are_is_named(say):
    both = Dispatcher(agents={"script": say(lambda _: "no")}, choose=lambda _: "script")
    with pytest.raises(RedteamError, match="'script' cannot say how probable"):
        both.log_odds([request((0, "game", 0))], ["no"])
