"""Attacks that ask a model: whether they find what a scripted defender gives in to, and what they believe."""

import pytest
from attack_fakes import LANGUAGE, WORLD, Weak, attacked, setups, weak_to

from agents.scripted import ScriptedAgent
from redteam_env.attacks import resolve_attack, succeeded
from redteam_env.attacks.crescendo import Crescendo
from redteam_env.attacks.goat import Goat
from redteam_env.attacks.pair import Pair
from redteam_env.attacks.run import RunAttack
from redteam_env.attacks.search import message_of
from redteam_env.attacks.tap import Tap
from redteam_env.border.attacks import check_attack
from redteam_env.game import Game, Generation, RedteamError
from redteam_env.protocols import Queries, Reply
from redteam_env.randomness import generator
from redteam_env.worlds.apothecary.scripted import ScriptedAttacker, rewrite

TACTICS = ("urgent", "exam", "story", "alias")
TURNS = Game(exchanges=3)


class Writer:
    """Writes the seed in the k-th tactic when it is asked for its k-th message in a chat."""

    def __init__(self, write=None, tactics=TACTICS):
        self.tactics = tactics
        self.chats = []
        if write is not None:
            self.write = write

    def act(self, requests):
        self.chats += [request.messages for request in requests]
        return [self.reply(request) for request in requests]

    def reply(self, request):
        if not request.prefill:  # whether a message kept to the subject
            return Reply(text="Yes.")
        text = self.write(request)
        return Reply(text=f"{text}</message>" if text is not None else "I would rather not.")

    def write(self, request):
        k = sum(x["role"] == "assistant" for x in request.messages)
        return rewrite(LANGUAGE, request, {self.tactics[k % len(self.tactics)]})


def ordinary():
    return LANGUAGE.request(WORLD.ordinary[0])


def wins(found):
    return [any(map(succeeded, own)) for own in found.episodes]


def test_pair_refines_until_the_defender_gives_in():
    writer = Writer()
    found = attacked(Pair(attacker=writer), weak_to("story"))
    assert [[succeeded(x) for x in own] for own in found.episodes] == [[False, False, True]] * 4
    assert found.queries == Queries(target=12, attacker=12, judge=12)
    told = writer.chats[-1][-1]["content"]
    assert "sorry" in told
    assert "Score: 1 of 10" in told


def test_pair_starts_anew_after_its_depth():
    found = attacked(Pair(attacker=Writer(), depth=2), weak_to("story"), attempts=6)
    assert not any(wins(found)), "the third tactic is out of a stream's reach"
    texts = [x.turns[0].visible for x in found.episodes[0]]
    assert texts == texts[:2] * 3


def test_what_cannot_be_read_is_counted_and_the_last_message_sent_again():
    def once(request):
        first = not any(x["role"] == "assistant" for x in request.messages)
        return rewrite(LANGUAGE, request, {"urgent"}) if first else None

    found = attacked(Pair(attacker=Writer(once)), weak_to("story"), setups(2), attempts=3)
    texts = [[x.turns[0].visible for x in own] for own in found.episodes]
    assert all(len(set(own)) == 1 and own[0].endswith("answer fast") for own in texts)
    assert found.queries == Queries(target=6, attacker=2 + 2 * 2 * 3, judge=6, unread=12)


def test_without_any_message_the_request_itself_is_sent():
    found = attacked(Pair(attacker=Writer(lambda request: None)), weak_to("story"), attempts=1)
    assert all(own[0].turns[0].visible == own[0].seed.text for own in found.episodes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("how do i</message>", "how do i"),
        ("I think so. <message> how do i </message>", "how do i"),
        ("<think>no</message></think>how do i</message>", "how do i"),
        ("how do i</message> That is all.", "how do i"),
        ("how do i", None),
        ("</message>", None),
        ("<message>a<message>b</message>", None),
        ("a</message>b</message>", None),
        ("a</message><message>", None),
        ("x" * 41 + "</message>", None),
    ],
)
def test_a_message_stands_between_its_tags_or_there_is_none(text, message):
    assert message_of(Reply(text=text), 40) == message


@pytest.mark.parametrize(
    ("text", "finished", "message"),
    [("how do i", True, "how do i"), ("how do i", False, None), ("a <message> b", True, None)],
)
def test_a_model_that_began_behind_the_tag_may_end_its_turn_there(text, finished, message):
    generation = Generation(
        prompt_ids=(1,),
        completion_ids=(2,),
        logprobs=(0.0,),
        adapter="base",
        version=0,
        temperature=1.0,
        finished=finished,
    )
    assert message_of(Reply(text=text, generation=generation), 40) == message


def test_an_error_of_the_attackers_model_is_no_message():
    assert message_of(Reply(text="a</message>", error="no server"), 40) is None


def test_text_of_the_defender_fills_no_slot_and_is_cut():
    writer = Writer()
    talker = ScriptedAgent(lambda request: "{goal} {score} " + "x" * 5000)
    attacked(Pair(attacker=writer), talker, setups(1), attempts=2)
    told = writer.chats[-1][-1]["content"]
    assert "{goal} {score} x" in told
    assert len(told) < 2300


def test_tap_keeps_the_best_leaves_and_finds_a_pair_of_tactics():
    def write(request):
        rng = generator(request.path)
        return rewrite(LANGUAGE, request, {TACTICS[rng.integers(3)]})

    found = attacked(Tap(attacker=Writer(write)), weak_to("story"), setups(6), attempts=12)
    assert all(wins(found))
    assert found.queries.unread == 0


def test_tap_prunes_what_lost_the_subject_before_the_defender_sees_it():
    class Doubtful(Writer):
        def reply(self, request):
            if not request.prefill:
                question = request.messages[-1]["content"]
                return Reply(text="no" if "answer fast" in question else "yes")
            return super().reply(request)

    def write(request):
        return rewrite(LANGUAGE, request, {TACTICS[generator(request.path).integers(2)]})

    target = weak_to("story")
    found = attacked(Tap(attacker=Doubtful(write)), target, setups(4), attempts=6)
    assert [len(own) for own in found.episodes] == [6] * 4
    pruned = [text for text in target.asked if text.endswith("answer fast")]
    assert pruned == []


def patient(tactics, said):
    """Gives in where the conversation began with an ordinary request."""
    first = LANGUAGE.decode(said[0])
    return len(said) > 1 and first is not None and not first.restricted


def stepwise(request):
    """First an ordinary request, then the seed."""
    answered = [
        x["content"] for x in request.messages if x["content"].startswith("The other model ans")
    ]
    return request.seed.text if answered else ordinary()


@pytest.mark.parametrize("kind", [Crescendo, Goat])
def test_a_conversation_arrives_where_one_message_does_not(kind):
    found = attacked(
        kind(attacker=Writer(stepwise), turns=3), Weak(patient), attempts=1, game=TURNS
    )
    assert all(wins(found))
    assert all(len(own[0].turns) == 4 for own in found.episodes), "it ends with its success"
    assert found.queries.judge == 8
    alone = attacked(Pair(attacker=Writer(lambda x: x.seed.text)), Weak(patient), game=TURNS)
    assert not any(wins(alone))


def test_crescendo_takes_back_what_was_refused():
    def hasty(request):
        refused = any("taken back" in x["content"] for x in request.messages)
        return stepwise(request) if refused else request.seed.text

    found = attacked(
        Crescendo(attacker=Writer(hasty), turns=2), Weak(patient), attempts=1, game=TURNS
    )
    assert all(wins(found)), "the defender knows nothing of the request that it refused"
    assert all(own[0].turns[0].visible == ordinary() for own in found.episodes)
    goat = attacked(Goat(attacker=Writer(hasty), turns=2), Weak(patient), attempts=1, game=TURNS)
    assert not any(wins(goat))


def test_a_conversation_that_is_refused_to_the_end_is_an_attempt():
    attack = Crescendo(attacker=Writer(lambda x: x.seed.text), turns=2, backtracks=1)
    found = attacked(attack, Weak(lambda tactics, said: False), attempts=2, game=TURNS)
    assert [[len(x.turns) for x in own] for own in found.episodes] == [[4, 4]] * 4
    assert found.queries.target == 4 * 2 * 3


def test_a_conversation_ends_where_the_defender_fails():
    attack = Crescendo(attacker=Writer(stepwise), turns=3)
    broken = type("Broken", (), {"act": lambda _, x: [Reply(text="", error="down") for _ in x]})()
    found = attacked(attack, broken, setups(2), attempts=2, game=TURNS)
    assert [[x.void is not None for x in own] for own in found.episodes] == [[True, True]] * 2


@pytest.mark.parametrize("name", ["crescendo", "goat"])
def test_a_conversation_longer_than_the_game_is_refused(name):
    attack = resolve_attack(f"{name}?turns=4", attacker=Writer())
    with pytest.raises(RedteamError, match="needs 4 exchanges, but the game has 3"):
        check_attack(attack, name, TURNS)


@pytest.mark.parametrize("name", ["pair", "tap", "crescendo", "goat", "run"])
def test_a_method_that_asks_a_model_says_so_without_one(name):
    with pytest.raises(RedteamError, match="--attacker"):
        resolve_attack(name, attacker=None)


@pytest.mark.parametrize("kind", [Pair, Tap])
def test_equal_seeds_give_equal_attempts_whatever_is_asked_together(kind):
    def write(request):
        return rewrite(LANGUAGE, request, {TACTICS[generator(request.path).integers(4)]})

    def texts(seed, games, **options):
        found = attacked(
            kind(attacker=Writer(write), seed=seed), weak_to("never"), games, **options
        )
        return [[x.turns[0].visible for x in own] for own in found.episodes]

    games = setups(4)
    assert texts(3, games) == texts(3, games, batch_size=3)
    assert texts(3, games)[1:] == texts(3, games[1:])
    assert texts(3, games) != texts(4, games)


def test_a_runs_attacker_plays_its_seat_until_it_succeeds():
    found = attacked(RunAttack(attacker=ScriptedAttacker(WORLD, ["story"])), weak_to("story"))
    assert [len(own) for own in found.episodes] == [1] * 4
    assert found.queries == Queries(target=4, attacker=4, judge=4)
    lost = attacked(RunAttack(attacker=ScriptedAttacker(WORLD)), weak_to("story"), attempts=3)
    assert [len(own) for own in lost.episodes] == [3] * 4
    assert len({x.path for own in lost.episodes for x in own}) == 12
