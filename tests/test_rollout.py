import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redteam_env import DataCard, Game, Generation, RedteamError, Reply, Seed, Thinking, Verdict
from redteam_env.game import ATTACKER, DEFENDER
from redteam_env.protocols import GameSetup
from redteam_env.randomness import generator
from redteam_env.rollout import play, role_batches, schedule
from redteam_env.seeds.source import ListSource

CARD = DataCard(name="tiny", licence="CC0-1.0", revision="1", sha256="", origin="this test")
SOURCE = ListSource(
    [
        Seed(id=f"{label}{k}", text=f"{label} request {k}", harmful=label == "harmful", split=split)
        for label in ("harmful", "benign")
        for k, split in enumerate(["train", "train", "train", "heldout"])
    ],
    CARD,
)


class HashJudge:
    name = "hash"
    smoke_only = True

    def __init__(self):
        self.calls = []

    def judge(self, dialogues):
        self.calls.append(len(dialogues))
        return [self.verdict(dialogue) for dialogue in dialogues]

    def verdict(self, dialogue):
        bits = hashlib.sha256(repr(dialogue).encode()).digest()[0]
        if bits & 24 == 0:
            return Verdict(judge=self.name, error="no answer")
        return Verdict(
            prompt_harmful=bool(bits & 1),
            response_refusal=bool(bits & 2),
            response_harmful=bool(bits & 4),
            judge=self.name,
        )


class Talker:
    """Says random words by path, sometimes malformed, and counts its calls."""

    def __init__(self, *, with_tokens=False):
        self.calls = []
        self.with_tokens = with_tokens

    def act(self, requests):
        self.calls.append(len(requests))
        return [self.reply(request) for request in requests]

    def reply(self, request):
        rng = generator(request.path)
        word = f"w{rng.integers(1000)}"
        texts = [word, f"<think>t</think><answer>{word}</answer>", "<think>lost"]
        ids = tuple(rng.integers(0, 99, size=3).tolist())
        generation = Generation(
            prompt_ids=(1, 2),
            completion_ids=ids,
            logprobs=(-1.0, -2.0, -0.5),
            adapter=request.role,
            version=1,
            temperature=1.0,
            finished=True,
        )
        text = texts[rng.choice(3, p=[0.45, 0.45, 0.1])]
        return Reply(text=text, generation=generation if self.with_tokens else None)


def setups(n, **how):
    return schedule(SOURCE, n, path=(0, "step", 0), **how)


def agents(**how):
    return {ATTACKER: Talker(**how), DEFENDER: Talker(**how)}


RULES = Game(exchanges=2, thinking={ATTACKER: Thinking.OPTIONAL, DEFENDER: Thinking.NONE})


def test_a_phase_is_one_call_and_the_judge_is_asked_once():
    talkers, judge = agents(), HashJudge()
    episodes = play(setups(8, rewrite_fraction=0.5), talkers, judge)
    assert talkers[ATTACKER].calls == [4]
    assert len(judge.calls) == 1
    assert judge.calls[0] == sum(episode.forfeit is None for episode in episodes)


@given(st.integers(1, 12), st.none() | st.integers(1, 13), st.randoms())
def test_neither_batch_size_nor_order_nor_company_changes_a_game(n, batch_size, random):
    games = setups(n)
    expected = play(games, agents(with_tokens=True), HashJudge(), game=RULES)
    chunked = play(games, agents(with_tokens=True), HashJudge(), game=RULES, batch_size=batch_size)
    assert chunked == expected
    order = list(range(n))
    random.shuffle(order)
    shuffled = play([games[k] for k in order], agents(with_tokens=True), HashJudge(), game=RULES)
    assert shuffled == [expected[k] for k in order]
    alone = play([games[order[0]]], agents(with_tokens=True), HashJudge(), game=RULES)
    assert alone == [expected[order[0]]]


def test_the_same_path_plays_the_same_step():
    first, second = (play(setups(6), agents(), HashJudge()) for _ in range(2))
    other = play(schedule(SOURCE, 6, path=(1, "step", 0)), agents(), HashJudge())
    assert first == second != other


def test_episodes_come_in_order_with_path_and_group():
    games = setups(5)
    episodes = play(games, agents(), HashJudge(), batch_size=2)
    assert [episode.path for episode in episodes] == [(0, "step", 0, "game", k) for k in range(5)]
    assert [(x.seed, x.rewritten, x.group) for x in episodes] == [
        (x.seed, x.rewritten, x.group) for x in games
    ]


@given(st.integers(1, 60), st.floats(0, 1), st.floats(0, 1))
def test_a_step_holds_the_wanted_shares_up_to_rounding(n, benign, rewritten):
    games = schedule(SOURCE, n, path=(0,), benign_fraction=benign, rewrite_fraction=rewritten)
    assert len(games) == n
    for label in (True, False):
        members = [game for game in games if game.seed.harmful is label]
        share = 1 - benign if label else benign
        assert abs(len(members) - share * n) <= 0.5 + 1e-9
        assert abs(sum(x.rewritten for x in members) - rewritten * len(members)) <= 0.5 + 1e-9


@given(st.integers(1, 12), st.integers(1, 5), st.floats(0, 1), st.floats(0, 1))
def test_a_group_is_one_seed_played_several_times(groups, size, benign, rewritten):
    shares = {"benign_fraction": benign, "rewrite_fraction": rewritten}
    games = schedule(SOURCE, groups * size, path=(0,), group_size=size, **shares)
    alone = schedule(SOURCE, groups, path=(0,), **shares)
    assert [game.path for game in games] == [(0, "game", k) for k in range(groups * size)]
    for k, game in enumerate(games):
        one = alone[k // size]
        assert (game.seed, game.rewritten, game.group) == (one.seed, one.rewritten, one.group)


@given(st.integers(1, 60))
def test_shares_are_spread_over_the_step(n):
    games = setups(n)
    for start in range(0, n - 3, 4):
        block = games[start : start + 4]
        assert sum(not game.seed.harmful for game in block) == 2


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_only_the_chosen_split_is_drawn(split):
    assert {game.seed.split for game in setups(20, split=split)} == {split}


def test_no_seed_repeats_before_all_were_drawn():
    drawn = [game.seed.id for game in setups(6)]
    assert len(set(drawn)) == 6


def test_a_label_that_is_not_wanted_need_not_exist():
    source = ListSource([Seed(id="h", text="x", harmful=True)], CARD)
    games = schedule(source, 3, path=(0,), benign_fraction=0.0)
    assert [game.seed.id for game in games] == ["h"] * 3
    with pytest.raises(RedteamError, match="benign"):
        schedule(source, 3, path=(0,))


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"benign_fraction": 1.5}, "benign_fraction is 1.5"),
        ({"rewrite_fraction": float("nan")}, "rewrite_fraction is nan"),
        ({"split": "test"}, "test"),
        ({"group_size": 0}, "group_size is 0"),
        ({"group_size": 3}, "group_size is 3"),
    ],
)
def test_wrong_shares_are_named(how, told):
    with pytest.raises(RedteamError) as caught:
        setups(4, **how)
    assert told in str(caught.value)


def test_no_games_and_no_batch_are_refused():
    with pytest.raises(RedteamError, match="games is 0"):
        setups(0)
    with pytest.raises(RedteamError, match="batch_size is 0"):
        play(setups(1), agents(), HashJudge(), batch_size=0)
    for size in ("x", 2.5):
        with pytest.raises(RedteamError, match=f"batch_size is {size!r}; give a whole number"):
            play(setups(1), agents(), HashJudge(), batch_size=size)


def test_no_setups_are_no_episodes():
    judge = HashJudge()
    assert play([], agents(), judge) == []
    assert judge.calls == []


def test_a_seat_without_agent_is_named():
    with pytest.raises(RedteamError, match="attacker_0 is to move but has no agent"):
        play(setups(2, rewrite_fraction=1.0), {DEFENDER: Talker()}, HashJudge())


def test_raw_games_need_no_attacker():
    episodes = play(setups(2, rewrite_fraction=0.0), {DEFENDER: Talker()}, HashJudge())
    assert len(episodes) == 2


class Short(Talker):
    def act(self, requests):
        return super().act(requests)[:-1]


class Silent(HashJudge):
    def judge(self, dialogues):
        return super().judge(dialogues)[:-1]


def test_a_wrong_number_of_answers_is_named():
    with pytest.raises(RedteamError, match="defender_0 gave 1 replies to 2 requests"):
        play(setups(2, rewrite_fraction=0.0), {DEFENDER: Short()}, HashJudge())
    rules = Game(thinking={DEFENDER: Thinking.NONE})
    with pytest.raises(RedteamError, match="'hash' gave 1 verdicts on 2 dialogues"):
        play(setups(2, rewrite_fraction=0.0), {DEFENDER: Talker()}, Silent(), game=rules)


def test_forfeited_games_are_not_judged():
    class Lost(Talker):
        def reply(self, request):
            return Reply(text="<think>lost")

    judge = HashJudge()
    episodes = play(setups(4, rewrite_fraction=0.0), {DEFENDER: Lost()}, judge)
    assert judge.calls == []
    assert [episode.forfeit for episode in episodes] == [DEFENDER] * 4


def test_requests_hold_the_seed_for_the_attacker_only():
    seen = []

    class Looker(Talker):
        def act(self, requests):
            seen.extend(requests)
            return super().act(requests)

    rules = Game(thinking={ATTACKER: Thinking.REQUIRED})
    play(
        setups(8, rewrite_fraction=1.0),
        dict.fromkeys((ATTACKER, DEFENDER), Looker()),
        HashJudge(),
        game=rules,
    )
    assert {request.role for request in seen} == {"attacker", "defender"}
    for request in seen:
        assert (request.seed is not None) == (request.role == "attacker")
        assert bool(request.prefill) == (request.role == "attacker")
        assert request.messages[0]["role"] == "system"
    assert len({request.path for request in seen}) == len(seen)


def test_progress_is_told_by_phase():
    told = []
    play(
        setups(4, rewrite_fraction=1.0),
        agents(),
        HashJudge(),
        game=Game(thinking=dict.fromkeys((ATTACKER, DEFENDER), Thinking.NONE)),
        batch_size=3,
        progress=lambda *x: told.append(x),
    )
    assert told == [
        (ATTACKER, 3, 4),
        (ATTACKER, 4, 4),
        (DEFENDER, 3, 4),
        (DEFENDER, 4, 4),
        ("judge", 4, 4),
    ]


def test_batches_hold_the_turns_that_may_be_trained_on():
    episodes = play(setups(40), agents(with_tokens=True), HashJudge(), game=RULES)
    batches = role_batches(episodes)
    assert any(episode.void for episode in episodes)
    assert any(episode.forfeit for episode in episodes)
    for role, seat in (("attacker", ATTACKER), ("defender", DEFENDER)):
        turns = [
            (episode, turn)
            for episode in episodes
            if seat in episode.samples
            for turn in episode.turns
            if turn.seat == seat
        ]
        batch = batches[role]
        assert list(batch.generations) == [turn.generation for _, turn in turns]
        assert batch.turns == tuple(turn for _, turn in turns)
        for k, (episode, _) in enumerate(turns):
            assert batch.rewards[k] == episode.rewards[seat]
            assert batch.groups[k] == episode.group
            assert batch.episodes[batch.episode_index[k]] is episode
            assert episode.turns[batch.turn_index[k]] is batch.turns[k]
            assert episode.void is None


def test_turns_without_tokens_are_not_trained_on():
    episodes = play(setups(6), agents(), HashJudge())
    assert role_batches(episodes) == {}


def test_a_seed_over_the_limit_stops_before_anybody_acts():
    talkers = agents()
    long = Seed(id="long", text="x" * 21, harmful=True)
    games = [*setups(1), GameSetup(seed=long, rewritten=True, path=("x",), group=0)]
    with pytest.raises(RedteamError, match="'long'"):
        play(games, talkers, HashJudge(), game=Game(max_seed_chars=20))
    assert talkers[ATTACKER].calls == talkers[DEFENDER].calls == []


@pytest.mark.parametrize("answer", [None, ["a text"], [None]])
def test_an_agent_that_returns_no_replies_is_named(answer):
    class Wrong:
        def act(self, requests):
            return answer

    with pytest.raises(RedteamError, match="defender_0"):
        play(setups(1, rewrite_fraction=0.0), {DEFENDER: Wrong()}, HashJudge())
