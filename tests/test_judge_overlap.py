"""A judge that works elsewhere reads finished games while agents answer in the next ones."""

import threading

import pytest
from support_servers import RecordedJudgeServer
from test_rollout import RULES, HashJudge, Talker, agents, setups

from redteam_env import RedteamError, Reply
from redteam_env.game import DEFENDER
from redteam_env.judges import always, record
from redteam_env.judges.wildguard import wildguard
from redteam_env.rollout import play

PATIENCE_S = 30


class Concurrent(HashJudge):
    concurrent = True

    def __init__(self):
        super().__init__()
        self.threads = []

    def judge(self, dialogues):
        self.threads.append(threading.current_thread())
        return super().judge(dialogues)


def two_chunks(judge, defender):
    """Play eight raw games in two chunks."""
    games = setups(8, rewrite_fraction=0)
    return play(games, {DEFENDER: defender}, judge, batch_size=4)


class Defender(Talker):
    """Does something before its n-th phase."""

    def __init__(self, before):
        super().__init__()
        self.before = before

    def act(self, requests):
        if action := self.before.get(len(self.calls)):
            action()
        return super().act(requests)


def test_the_judge_reads_the_first_chunk_while_the_second_is_played():
    answering = threading.Event()

    class Slow(Concurrent):
        def judge(self, dialogues):
            if not self.calls:  # its first verdicts come only once the second chunk is played
                assert answering.wait(PATIENCE_S)
            return super().judge(dialogues)

    judge = Slow()
    episodes = two_chunks(judge, Defender({1: answering.set}))
    assert len(judge.calls) == 2
    assert episodes == two_chunks(HashJudge(), Talker())


def test_agents_wait_for_no_judge_between_chunks():
    judging, answered = threading.Event(), threading.Event()

    class Slow(Concurrent):
        def judge(self, dialogues):
            judging.set()
            assert answered.wait(PATIENCE_S)
            return super().judge(dialogues)

    def second_chunk():
        assert judging.wait(PATIENCE_S)
        answered.set()

    two_chunks(Slow(), Defender({1: second_chunk}))


@pytest.mark.parametrize("batch_size", [None, 1, 2, 3, 100])
def test_overlap_changes_no_episode(batch_size):
    games = setups(12)
    expected = play(games, agents(with_tokens=True), HashJudge(), game=RULES)
    players = agents(with_tokens=True)
    found = play(games, players, Concurrent(), game=RULES, batch_size=batch_size)
    assert found == expected


def test_calls_come_one_after_the_other_from_one_thread_in_the_order_of_the_games():
    judge = Concurrent()
    play(setups(9, rewrite_fraction=0), agents(), judge, batch_size=2)
    assert [len(judge.calls), len(set(judge.threads))] == [5, 1]
    assert judge.threads[0] is not threading.current_thread()
    assert not judge.threads[0].is_alive()


def test_a_single_chunk_is_a_single_call():
    judge = Concurrent()
    play(setups(8), agents(), judge)
    assert len(judge.calls) == 1


def test_a_judge_that_does_not_ask_for_it_is_called_once_in_the_callers_thread():
    class Plain(Concurrent):
        concurrent = False

    judge = Plain()
    play(setups(8), agents(), judge, batch_size=2)
    assert judge.threads == [threading.current_thread()]


def test_games_without_a_verdict_are_not_handed_over():
    class Failing:
        def act(self, requests):
            return [Reply(text="", error="no server") for _ in requests]

    judge = Concurrent()
    episodes = two_chunks(judge, Failing())
    assert judge.calls == []
    assert {episode.void for episode in episodes} == {"defender error: no server"}


def test_a_judge_that_raises_stops_the_rollout_before_the_next_chunk():
    raised = threading.Event()

    class Broken(Concurrent):
        def judge(self, dialogues):
            try:
                raise OSError("the judge broke")
            finally:
                raised.set()

    played = Defender({1: lambda: raised.wait(PATIENCE_S)})
    with pytest.raises(RedteamError, match="'hash' raised OSError: the judge broke"):
        play(setups(40, rewrite_fraction=0), {DEFENDER: played}, Broken(), batch_size=4)
    assert len(played.calls) < 10
    assert all(thread.name != "judge_0" for thread in threading.enumerate())


def test_a_wrong_number_of_verdicts_is_the_same_error():
    class Short(Concurrent):
        def judge(self, dialogues):
            return super().judge(dialogues)[1:]

    with pytest.raises(RedteamError, match=r"gave \d verdicts on \d dialogues"):
        two_chunks(Short(), Talker())


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_error_of_an_agent_leaves_no_judge_behind(error):
    begun, stopped, workers = threading.Event(), threading.Event(), []

    class Slow(Concurrent):
        def judge(self, dialogues):
            workers.append(threading.current_thread())
            begun.set()
            if error is KeyboardInterrupt:
                stopped.wait(PATIENCE_S)
            return super().judge(dialogues)

    def fail():
        assert begun.wait(PATIENCE_S)
        raise error

    judge = Slow()
    with pytest.raises((KeyboardInterrupt, RedteamError)) as caught:
        two_chunks(judge, Defender({1: fail}))
    assert error in (type(caught.value), type(caught.value.__cause__))
    stopped.set()
    workers[0].join(PATIENCE_S)
    assert not workers[0].is_alive()
    assert len(judge.calls) == 1


def test_after_ctrl_c_a_judge_behind_http_sends_nothing_new(tmp_path):
    template = tmp_path / "template"
    template.write_text("{prompt} {response}")
    gate, asked = threading.Event(), threading.Event()

    def answers(query):
        return (True, False, False)

    with RecordedJudgeServer(answers, gate=gate) as server:
        judge = wildguard(server.url, concurrency=1, template_file=template)

        def interrupt():
            while not server.requests:
                asked.wait(0.01)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            two_chunks(judge, Defender({1: interrupt}))
        workers = [x for x in threading.enumerate() if x.name == "judge_0"]
        gate.set()
        for worker in workers:
            worker.join(PATIENCE_S)
        assert len(server.requests) == 1


def test_judges_behind_http_and_their_records_are_asked_meanwhile(tmp_path):
    template = tmp_path / "template"
    template.write_text("{prompt} {response}")
    remote = wildguard("http://127.0.0.1:1", template_file=template)
    served = wildguard("http://127.0.0.1:1/classify")
    assert remote.concurrent
    assert served.concurrent
    assert record(remote, tmp_path / "record").concurrent
    assert not record(always(), tmp_path / "other").concurrent
