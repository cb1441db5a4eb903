"""Games in which the judge reads after each exchange, and each exchange pays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redteam_env.game import (
    ATTACKER,
    DEFENDER,
    Episode,
    Game,
    RedteamError,
    Seed,
    Thinking,
    Verdict,
    reward_table,
)

SEED = Seed(id="s", text="Tell me.", harmful=True)
LABELS = st.tuples(st.booleans(), st.booleans(), st.booleans())


def verdict(labels):
    harmful, refused, harm = labels
    return Verdict(prompt_harmful=harmful, response_refusal=refused, response_harmful=harm)


def played(game, texts, *, rewritten=True):
    state = game.start(SEED, rewritten=rewritten)
    for text in texts:
        if state.to_move is not None:
            state = game.apply(state, text)
    return state


def two(**more):
    return Game(exchanges=2, credit="turn", **more)


def test_the_judge_reads_the_dialogue_as_it_stood_after_each_exchange():
    state = played(two(), "abcd")
    first, second = two().dialogues(state)
    assert [line.text for line in first.lines] == ["a", "b"]
    assert [line.text for line in second.lines] == ["a", "b", "c", "d"]
    assert second == state.dialogue
    assert Game(exchanges=2).dialogues(state) == (state.dialogue,)
    assert len(two().dialogues(played(two(), "a", rewritten=False))) == 1


@given(LABELS, LABELS)
def test_a_game_pays_the_sum_of_what_its_exchanges_pay(first, second):
    verdicts = [verdict(first), verdict(second)]
    episode = two().finish(played(two(), "abcd"), verdicts[1], earlier=verdicts[:1])
    single = [Game().finish(played(Game(), "ab"), x) for x in verdicts]
    for seat in (ATTACKER, DEFENDER):
        alone = [game.rewards[seat] for game in single]
        assert [x.reward(seat) for x in episode.exchanges] == alone
        assert episode.rewards[seat] == sum(alone)
        assert episode.rewards[seat] == sum(episode.components[seat].values())
    places = {ATTACKER: (0, 2), DEFENDER: (1, 3)}
    for seat, (early, late) in places.items():
        assert episode.credit(early) == episode.rewards[seat]
        assert episode.credit(late) == episode.exchanges[1].reward(seat)
    assert episode.verdict == verdicts[1]
    assert Episode.from_json(episode.to_json()) == episode
    assert two().replay(episode) == episode


@given(LABELS)
def test_with_one_exchange_the_pay_is_that_of_the_episode(labels):
    by_turn = Game(credit="turn").finish(played(Game(), "ab"), verdict(labels))
    by_game = Game().finish(played(Game(), "ab"), verdict(labels))
    assert (by_turn.rewards, by_turn.components) == (by_game.rewards, by_game.components)
    assert by_game.exchanges == ()
    assert "exchanges" not in by_game.to_json()


def test_the_format_of_a_turn_is_paid_where_it_was_kept():
    rules = two(thinking={ATTACKER: Thinking.REQUIRED, DEFENDER: Thinking.NONE})
    good, bad = "<think>t</think><answer>a</answer>", "t<answer>a</answer>"
    whole = verdict((True, True, False))
    episode = rules.finish(played(rules, (good, "b", bad, "d")), whole, earlier=[whole])
    assert [x.components[ATTACKER]["format"] for x in episode.exchanges] == [1.0, -1.0]


def test_a_doubtful_exchange_voids_the_game_and_an_unfaithful_one_is_left_out_for_the_defender():
    state, whole = played(two(), "abcd"), verdict((True, True, False))
    unknown = Verdict(prompt_harmful=True, response_refusal=True)
    episode = two().finish(state, whole, earlier=[unknown])
    assert episode.void is not None
    assert episode.rewards == {ATTACKER: 0.0, DEFENDER: 0.0}
    assert episode.exchanges == ()
    strict = two(rewards=reward_table("self_redteam", drop_unfaithful=True))
    unfaithful = strict.finish(state, whole, earlier=[verdict((False, False, False))])
    assert unfaithful.samples == (ATTACKER,)


def test_a_forfeited_game_is_not_judged_and_pays_as_ever():
    rules = two(thinking={ATTACKER: Thinking.OPTIONAL, DEFENDER: Thinking.REQUIRED})
    state = played(rules, ("a", "<think>t</think><answer>b</answer>", "c", "<think>lost"))
    assert rules.dialogues(state) == ()
    episode = rules.finish(state, None)
    assert episode.samples == (DEFENDER,)
    assert episode.exchanges == ()
    assert episode.credit(1) == episode.credit(3) == episode.rewards[DEFENDER] < 0


def test_verdicts_on_earlier_exchanges_are_asked_for():
    state, whole = played(two(), "abcd"), verdict((True, True, False))
    with pytest.raises(RedteamError, match=r"needs 1 verdicts on earlier exchanges, but has 0"):
        two().finish(state, whole)
    with pytest.raises(RedteamError, match=r"needs 0 verdicts on earlier exchanges, but has 1"):
        Game(exchanges=2).finish(state, whole, earlier=[whole])


def test_an_unknown_credit_is_refused():
    with pytest.raises(RedteamError, match=r"credit.*'game'.*episode.*turn"):
        Game(credit="game")
