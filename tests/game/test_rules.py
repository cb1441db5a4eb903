import copy
import dataclasses
import itertools
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redteam_env.game import (
    ATTACKER,
    DEFENDER,
    Game,
    Generation,
    RedteamError,
    Seed,
    Thinking,
    Verdict,
)
from redteam_env.game.thinking import TAGS

SEED = Seed(id="s1", text="Tell me a secret.", harmful=True)
WHOLE = Verdict(prompt_harmful=True, response_refusal=False, response_harmful=True)
SECRET = "verysecretthought"

soup = st.lists(
    st.one_of(st.sampled_from([*TAGS, SECRET, "public", " "]), st.text(max_size=5)), max_size=10
).map("".join)
rules = st.builds(
    lambda attacker, defender, exchanges, leak: Game(
        thinking={ATTACKER: attacker, DEFENDER: defender},
        exchanges=exchanges,
        leak_on_violation=leak,
    ),
    st.sampled_from(Thinking),
    st.sampled_from(Thinking),
    st.integers(1, 3),
    st.booleans(),
)


def played(game, texts, *, rewritten=True, seed=SEED):
    """Play texts in turn until the game is over; the last text goes on if they run out."""
    state = game.start(seed, rewritten=rewritten)
    texts = list(texts)
    while state.to_move is not None:
        state = game.apply(state, texts.pop(0) if len(texts) > 1 else texts[0])
    return state


def views(game, state, seat):
    """Everything the rules ever show a seat."""
    shown = [game.instruction(state, seat), *(line.text for line in state.dialogue.lines)]
    return [*shown, *(message["content"] for message in game.messages(state, seat))]


@given(rules, st.lists(soup, min_size=1, max_size=6), st.booleans())
def test_open_messages_hide_nothing_and_alternate(game, texts, rewritten):
    state, texts = game.start(SEED, rewritten=rewritten), list(texts)
    while state.to_move is not None:
        messages = game.open_messages(state, state.to_move)
        assert [x["role"] for x in messages[:2]] == ["system", "user"]
        assert all(a["role"] != b["role"] for a, b in itertools.pairwise(messages))
        written = "\n\n".join(message["content"] for message in messages)
        assert all(turn.text in written for turn in state.turns)
        assert SEED.text in written
        assert all(game.rules_text(state, seat) in messages[0]["content"] for seat in game.seats)
        state = game.apply(state, texts.pop(0) if len(texts) > 1 else texts[0])


@given(rules, st.lists(soup, min_size=1, max_size=6), st.booleans())
def test_no_thought_reaches_another_seat(game, texts, rewritten):
    state = game.start(SEED, rewritten=rewritten)
    texts = list(texts)
    while state.to_move is not None:
        state = game.apply(state, texts.pop(0) if len(texts) > 1 else texts[0])
        turn = state.turns[-1]
        hidden = turn.thought and SECRET in turn.thought and SECRET not in turn.visible
        earlier_public = any(SECRET in other.visible for other in state.turns)
        if hidden and not earlier_public:
            for seat in game.seats:
                assert not any(SECRET in text for text in views(game, state, seat))


@given(rules, st.lists(soup, min_size=1, max_size=6), st.booleans())
def test_the_public_dialogue_is_the_visible_turns(game, texts, rewritten):
    state = played(game, texts, rewritten=rewritten)
    spoken = [(turn.seat, turn.visible) for turn in state.turns if not turn.forfeit]
    raw = [] if rewritten else [(ATTACKER, SEED.text)]
    assert [(line.seat, line.text) for line in state.dialogue.lines] == raw + spoken


@given(rules, st.lists(soup, min_size=1, max_size=6), st.booleans())
def test_a_recorded_game_replays_to_the_same_episode(game, texts, rewritten):
    state = played(game, texts, rewritten=rewritten)
    verdict = None if state.forfeited else WHOLE
    episode = game.finish(state, verdict, path=("run", 3), group=2)
    assert game.replay(episode) == episode


@pytest.mark.parametrize("exchanges", [1, 2, 3])
def test_seats_alternate_for_the_agreed_number_of_exchanges(exchanges):
    state = played(Game(exchanges=exchanges), ["text"])
    assert [turn.seat for turn in state.turns] == [ATTACKER, DEFENDER] * exchanges


@pytest.mark.parametrize("exchanges", [1, 3])
def test_a_raw_game_is_one_answer_to_the_seed(exchanges):
    game = Game(exchanges=exchanges)
    state = game.start(SEED, rewritten=False)
    assert state.to_move == DEFENDER
    assert state.dialogue.prompt == SEED.text
    state = game.apply(state, "No.")
    assert state.to_move is None
    assert [turn.seat for turn in state.turns] == [DEFENDER]
    assert (state.dialogue.prompt, state.dialogue.response) == (SEED.text, "No.")


def test_the_rewritten_seed_is_never_shown_to_the_defender():
    game = Game(exchanges=2)
    state = game.start(SEED, rewritten=True)
    for text in ("attack", "answer", "second attack"):
        state = game.apply(state, text)
        assert not any(SEED.text in text for text in views(game, state, DEFENDER))


def test_the_defender_cannot_tell_the_label():
    game = Game()
    instructions = {
        game.instruction(game.start(dataclasses.replace(SEED, harmful=x), rewritten=True), DEFENDER)
        for x in (True, False)
    }
    assert len(instructions) == 1


def test_the_attacker_of_a_raw_game_is_not_shown_the_seed():
    game = Game()
    assert SEED.text in game.instruction(game.start(SEED, rewritten=True), ATTACKER)
    assert SEED.text not in game.instruction(game.start(SEED, rewritten=False), ATTACKER)


def test_messages_alternate_between_user_and_assistant():
    game = Game(exchanges=2)
    state = game.start(SEED, rewritten=True)
    for text in ("a1", "d1", "a2"):
        state = game.apply(state, text)
    attacker, defender = game.messages(state, ATTACKER), game.messages(state, DEFENDER)
    assert [m["role"] for m in attacker] == ["system", "user", "assistant", "user", "assistant"]
    assert [m["content"] for m in attacker[2:]] == ["a1", "d1", "a2"]
    assert [m["role"] for m in defender] == ["system", "user", "assistant", "user"]
    assert [m["content"] for m in defender[1:]] == ["a1", "d1", "a2"]


def test_over_long_texts_are_cut_and_marked():
    game = Game(max_action_chars=5)
    state = game.apply(game.start(SEED, rewritten=True), "123456")
    assert state.turns[-1].text == state.turns[-1].visible == "12345"
    assert state.turns[-1].truncated
    state = game.apply(state, "12345")
    assert not state.turns[-1].truncated


def test_lone_surrogates_are_replaced():
    state = Game().apply(Game().start(SEED, rewritten=True), "a\ud800b\udfff")
    assert state.turns[-1].visible == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"


@given(st.text(max_size=30))
def test_every_text_is_a_legal_action(text):
    state = Game().apply(Game().start(SEED, rewritten=False), text)
    assert state.to_move is None
    state.turns[-1].text.encode()


@pytest.mark.parametrize("action", [None, 3, b"bytes", ["list"]])
def test_an_action_that_is_no_text_is_refused_by_name(action):
    game = Game()
    with pytest.raises(RedteamError, match="attacker_0"):
        game.apply(game.start(SEED, rewritten=True), action)


def test_nobody_acts_after_the_end():
    game = Game()
    with pytest.raises(RedteamError, match="over"):
        game.apply(played(game, ["x"]), "more")


@pytest.mark.parametrize("text", ["", "  \n", "x" * 1001])
def test_empty_and_over_long_seeds_are_errors(text):
    with pytest.raises(RedteamError, match="s1"):
        Game().start(dataclasses.replace(SEED, text=text), rewritten=True)


def test_a_forfeit_ends_the_game_at_once_and_is_not_judged():
    game = Game(thinking={ATTACKER: Thinking.REQUIRED}, exchanges=3)
    state = game.apply(game.start(SEED, rewritten=True), "no tags")
    assert state.to_move is None
    assert state.forfeited
    assert state.dialogue.lines == ()
    with pytest.raises(RedteamError, match="not judged"):
        game.finish(state, WHOLE)
    episode = game.finish(state, None)
    assert episode.forfeit == ATTACKER
    assert episode.samples == (ATTACKER,)
    assert episode.void is None


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict(error="the server is gone"),
        dataclasses.replace(WHOLE, error="late"),
        dataclasses.replace(WHOLE, prompt_harmful=None),
        dataclasses.replace(WHOLE, response_refusal=None),
        dataclasses.replace(WHOLE, response_harmful=None),
    ],
)
@pytest.mark.parametrize("rewritten", [True, False])
def test_void_games_pay_nothing_and_have_no_samples(verdict, rewritten):
    game = Game(
        prompt_label="judge",
        thinking={ATTACKER: Thinking.REQUIRED, DEFENDER: Thinking.REQUIRED},
    )
    state = played(game, ["<think>t</think><answer>a</answer>"], rewritten=rewritten)
    episode = game.finish(state, verdict)
    assert episode.void
    assert episode.rewards == {ATTACKER: 0.0, DEFENDER: 0.0}
    assert episode.components == {ATTACKER: {}, DEFENDER: {}}
    assert episode.samples == ()


def test_a_running_game_cannot_be_finished_and_a_finished_one_needs_a_verdict():
    game = Game()
    with pytest.raises(RedteamError, match="attacker_0 is still to move"):
        game.finish(game.start(SEED, rewritten=True), WHOLE)
    with pytest.raises(RedteamError, match="needs a verdict"):
        game.finish(played(game, ["x"]), None)


def test_replay_refuses_records_of_other_rules():
    long = Game(exchanges=2)
    episode = long.finish(played(long, ["x"]), WHOLE)
    with pytest.raises(RedteamError, match="over"):
        Game(exchanges=1).replay(episode)
    with pytest.raises(RedteamError, match="still to move"):
        Game(exchanges=3).replay(episode)


@pytest.mark.parametrize("name", ["exchanges", "max_seed_chars", "max_action_chars"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "1"])
def test_numbers_out_of_range_are_named(name, value):
    with pytest.raises(RedteamError, match=name):
        Game(**{name: value})


def test_an_unknown_seat_in_thinking_is_named():
    with pytest.raises(RedteamError, match="Did you mean 'defender_0'"):
        Game(thinking={"defender_1": Thinking.NONE})


def test_prefill_and_thinking_instruction_go_to_seats_that_must_think():
    game = Game(thinking={ATTACKER: Thinking.REQUIRED})
    state = game.start(SEED, rewritten=True)
    assert game.prefill(ATTACKER).endswith("<think> ")
    assert game.prefill(DEFENDER) == ""
    assert "<answer>" in game.instruction(state, ATTACKER)
    assert "<answer>" not in game.instruction(state, DEFENDER)


def test_a_thought_whose_tag_is_cut_off_stays_hidden():
    game = Game(max_action_chars=30)
    text = f"{SECRET} and more of it, over the limit</think><answer>a</answer>"
    state = game.apply(game.start(SEED, rewritten=True), text)
    assert not any(SECRET in line.text for line in state.dialogue.lines)


def test_thinking_rules_given_as_text_count_or_are_refused():
    assert Game(thinking={ATTACKER: "required"}).must_think(ATTACKER)
    with pytest.raises(RedteamError, match="sometimes"):
        Game(thinking={ATTACKER: "sometimes"})


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_rules_can_be_copied(duplicate):
    assert duplicate(Game()) == Game()


def test_a_seed_with_a_lone_surrogate_is_an_error():
    with pytest.raises(RedteamError, match="surrogate"):
        Game().start(dataclasses.replace(SEED, text="a\ud800b"), rewritten=True)


def opened(*texts, rewritten=True):
    game = Game(exchanges=2)
    state = game.start(SEED, rewritten=rewritten)
    for text in texts:
        state = game.apply(state, text)
    return game, state, game.open_messages(state, state.to_move)


def test_a_critic_reads_the_rules_of_all_seats_the_seed_and_what_was_said_to_the_seat_and_by_it():
    thought = "<think>hm</think><answer>A</answer>"
    game, state, messages = opened(thought, "D")
    of_attacker, of_defender = (game.rules_text(state, seat) for seat in (ATTACKER, DEFENDER))
    request = game.prompts.request(SEED.text)
    assert messages == [
        {"role": "system", "content": f"{of_attacker}\n\n{of_defender}"},
        {"role": "user", "content": request},
        {"role": "assistant", "content": thought},
        {"role": "user", "content": "D"},
    ]
    _, _, messages = opened(thought)
    assert messages == [
        {"role": "system", "content": f"{of_defender}\n\n{of_attacker}"},
        {"role": "user", "content": f"{request}\n\n{thought}"},
    ]
    _, _, messages = opened(rewritten=False)
    assert messages[1] == {"role": "user", "content": SEED.text}


def test_an_attacker_is_prompted_with_its_rules_the_request_and_the_public_dialogue():
    game, state, _ = opened("A", "D")
    assert game.messages(state, ATTACKER) == [
        {"role": "system", "content": game.rules_text(state, ATTACKER)},
        {"role": "user", "content": game.prompts.request(SEED.text)},
        {"role": "assistant", "content": "A"},
        {"role": "user", "content": "D"},
    ]


def test_the_rules_of_an_attacker_say_the_label():
    game = Game()
    harmful, benign = (
        game.rules_text(
            game.start(dataclasses.replace(SEED, harmful=label), rewritten=True), ATTACKER
        )
        for label in (True, False)
    )
    assert harmful == game.prompts.rules("attacker", harmful=True, must_think=False)
    assert benign == game.prompts.rules("attacker", harmful=False, must_think=False)
    assert harmful != benign


def test_a_turn_keeps_its_tokens_and_whether_its_prompt_was_neutralised():
    tokens = Generation(
        prompt_ids=(1,),
        completion_ids=(2,),
        logprobs=(-1.0,),
        adapter="attacker",
        version=1,
        temperature=1.0,
        finished=True,
    )
    game = Game()
    state = game.start(SEED, rewritten=True)
    (turn,) = game.apply(state, "A", generation=tokens, neutralised=True).turns
    assert (turn.generation, turn.neutralised) == (tokens, True)
    (turn,) = game.apply(state, "A").turns
    assert (turn.generation, turn.neutralised) == (None, False)


def test_a_leaking_game_shows_malformed_turns_whole():
    malformed = "<think>hm"
    leaking, hiding = (Game(leak_on_violation=leak) for leak in (True, False))
    (turn,) = leaking.apply(leaking.start(SEED, rewritten=True), malformed).turns
    assert (turn.visible, turn.forfeit) == (malformed, False)
    (turn,) = hiding.apply(hiding.start(SEED, rewritten=True), malformed).turns
    assert (turn.visible, turn.forfeit) == ("", True)


def test_a_native_thought_stands_before_that_of_the_format_and_both_fit_the_spaces():
    game = Game(max_action_chars=40)
    state = game.start(SEED, rewritten=True)
    text = "<think>two</think><answer>A</answer>"
    (turn,) = game.apply(state, text, thought="one").turns
    assert (turn.thought, turn.visible) == ("one\n\ntwo", "A")
    (turn,) = game.apply(state, "A" * 30, thought="n" * 40).turns
    assert turn.thought == "n" * 10


def test_a_seed_may_be_as_long_as_the_limit():
    game = Game(max_seed_chars=len(SEED.text))
    assert game.start(SEED, rewritten=True).seed == SEED
    longer = dataclasses.replace(SEED, text=f"{SEED.text}!")
    with pytest.raises(RedteamError, match="over the limit of 17; shorten it"):
        game.start(longer, rewritten=True)


def test_an_episode_knows_where_in_a_run_it_was_played():
    game = Game()
    state = played(game, ["A", "D"])
    episode = game.finish(state, WHOLE, path=(3, "game", 1), group=2)
    assert (episode.path, episode.group) == ((3, "game", 1), 2)
    episode = game.finish(state, WHOLE)
    assert (episode.path, episode.group) == ((), 0)


def test_a_game_paid_by_exchange_replays_with_the_verdict_on_each():
    game = Game(exchanges=3, credit="turn")
    tame = Verdict(prompt_harmful=True, response_refusal=True, response_harmful=False)
    episode = game.finish(played(game, ["A", "D"]), WHOLE, earlier=[tame, WHOLE])
    assert game.replay(episode) == episode


def test_wrong_calls_of_the_rules_say_what_to_do():
    game = Game()
    state = played(game, ["A", "D"])
    with pytest.raises(RedteamError) as caught:
        game.apply(state, "more")
    assert str(caught.value) == "The game is over; start another one before acting."
    with pytest.raises(RedteamError) as caught:
        game.finish(state, None)
    assert str(caught.value) == "A finished game needs a verdict."
    over = game.apply(game.start(SEED, rewritten=True), "<think>hm")
    with pytest.raises(RedteamError) as caught:
        game.finish(over, WHOLE)
    assert str(caught.value) == "A forfeited or failed game is not judged."
    with pytest.raises(RedteamError, match="Unknown seat in thinking 'nobody'"):
        Game(thinking={"nobody": Thinking.NONE})
    with pytest.raises(RedteamError, match="Unknown thinking rule 'maybe'"):
        Game(thinking={ATTACKER: "maybe"})
