import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import redteam_env
from redteam_env import RedteamError, Seed, TurnRequest
from redteam_env.embedders import HashingEmbedder
from redteam_env.envs.features import Features
from redteam_env.envs.moves import builtin_templates, moves_of, spoken
from redteam_env.envs.single_seat import reset_together, step_together
from redteam_env.protocols import Reply
from redteam_env.wrappers import EmbeddingObservation, TacticActions, Templates, read_templates

WORLD = {"seeds": "apothecary", "judge": "apothecary", "prompts": "apothecary"}
LONGER = {"exchanges": 2, "thinking": "required"}


def wrapped(seat, *, embedder="hashing", moves=None, opponent=None, **settings):
    env = redteam_env.single_seat(seat, opponent, **settings)
    return EmbeddingObservation(TacticActions(env, moves), embedder)


def ask(text, *, prefill=""):
    messages = [{"role": "system", "content": "rules"}, {"role": "user", "content": text}]
    return TurnRequest(
        seat="defender_0", role="defender", messages=messages, path=(1,), prefill=prefill
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seat", ["attacker_0", "defender_0"])
@pytest.mark.parametrize("game", [{}, WORLD, LONGER], ids=["english", "world", "longer"])
def test_stable_baselines_checker_accepts_a_wrapped_seat_without_a_warning(seat, game):
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    checker.check_env(wrapped(seat, **game))


@pytest.mark.parametrize("seat", ["attacker_0", "defender_0"])
def test_the_wrappers_may_stand_in_either_order(seat):
    one = wrapped(seat, **WORLD)
    other = TacticActions(
        EmbeddingObservation(redteam_env.single_seat(seat, **WORLD), "hashing"),
    )
    assert (one.observation_space, one.action_space) == (
        other.observation_space,
        other.action_space,
    )
    for seed in range(5):
        assert np.array_equal(one.reset(seed=seed)[0], other.reset(seed=seed)[0])
        assert one.step(1)[1:3] == other.step(1)[1:3]


def test_wrappers_are_reachable_without_their_own_import():
    assert redteam_env.wrappers.TacticActions is TacticActions
    registered = gymnasium.make("redteam/Attacker-v0", **WORLD)
    assert TacticActions(registered).action_space.n == 14


def test_attack_tactics_dress_the_seed_and_are_named_in_the_info():
    env = wrapped("attacker_0", **WORLD)
    language = env.unwrapped.session.judge.language
    for k, name in enumerate(env.get_wrapper_attr("moves").names):
        env.reset(seed=k)
        seed = env.unwrapped.session.state.seed.text
        *_, info = env.step(k)
        assert info["move"] == name
        text = info["redteam_episode"].dialogue.lines[0].text
        found = language.decode(text)
        assert found.tactics == ({name} - {"plain"})
        assert language.decode(seed).asked[0] in found.asked


def test_defence_modes_do_what_they_are_called():
    env = wrapped("defender_0", opponent="random_tactic", **WORLD)
    names = env.get_wrapper_attr("moves").names
    for name in names:
        for seed in range(8):
            env.reset(seed=seed)
            *_, info = env.step(names.index(name))
            harmful = info["verdict"]["prompt_harmful"]
            told, refused = (info["verdict"][x] for x in ("response_harmful", "response_refusal"))
            assert told == (name == "answer" and harmful)
            if name in {"refuse", "answer"}:
                assert refused == (name == "refuse")
            elif not harmful:
                assert refused


def test_a_policy_can_tell_requests_apart():
    env = wrapped("attacker_0", **WORLD)
    seen = {}
    for seed in range(40):
        vector, _ = env.reset(seed=seed)
        text = env.unwrapped.session.state.seed.text
        assert np.array_equal(seen.setdefault(text, vector), vector)
        assert vector[0] == (1 if env.unwrapped.session.state.seed.harmful else -1)
    assert len({x.tobytes() for x in seen.values()}) == len(seen) > 10


def test_the_defender_sees_the_rewrite_and_not_the_seed_or_its_label():
    says = Said("the same words")
    env = wrapped("defender_0", opponent=says, rewrite_fraction=1.0)
    assert len({env.reset(seed=k)[0].tobytes() for k in range(8)}) == 1


class Said:
    def __init__(self, text):
        self.text = text

    def act(self, requests):
        return [Reply(text=self.text) for _ in requests]


def test_an_attacker_of_several_exchanges_sees_the_last_answer_too():
    first, second = (
        wrapped("attacker_0", opponent=Said(text), exchanges=2) for text in ("no", "yes")
    )
    start, other = first.reset(seed=1)[0], second.reset(seed=1)[0]
    assert np.array_equal(start, other)
    assert not np.array_equal(first.step(0)[0], second.step(0)[0])


def test_after_the_end_there_is_nothing_to_see():
    env = wrapped("attacker_0", **WORLD)
    env.reset(seed=1)
    vector, _, over, *_ = env.step(0)
    assert over
    assert not vector.any()
    with pytest.raises(RedteamError, match="No game runs"):
        env.step(0)


@given(st.text(max_size=80), st.sampled_from(builtin_templates("attacker")))
def test_what_fills_a_template_is_never_read_as_one(text, template):
    hostile = f"{{text}} {text} {{0}} %s"
    said = Templates([template]).say(0, ask(hostile))
    before, after = template.split("{text}")
    assert said == before + hostile + after


def test_moves_keep_the_think_answer_format_where_it_is_required():
    env = wrapped("defender_0", thinking="required", opponent="refuse")
    for move in range(env.action_space.n):
        env.reset(seed=move)
        *_, info = env.step(move)
        assert info["redteam_episode"].turns[-1].well_formed
    assert spoken(Templates(["Hello"]), 0, ask("x")) == "Hello"


def test_templates_come_from_a_file_one_a_line(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("Please: {text}\n\nNo.\n", encoding="utf-8")
    moves = read_templates(file)
    assert moves.names == ("Please: {text}", "No.")
    env = TacticActions(redteam_env.single_seat("attacker_0"), moves)
    env.reset(options={"seed": Seed(id="1", text="Say hello.", harmful=False)})
    *_, info = env.step(0)
    assert info["redteam_episode"].dialogue.lines[0].text == "Please: Say hello."


@pytest.mark.parametrize(
    ("text", "reason"), [("", "at least one"), ("a\na\n", "twice"), (None, "Cannot read")]
)
def test_faulty_templates_are_refused(tmp_path, text, reason):
    file = tmp_path / "mine.txt"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(RedteamError, match=reason):
        read_templates(file)


@pytest.mark.parametrize("seat", ["attacker_0", "defender_0"])
@pytest.mark.parametrize("game", [{}, WORLD], ids=["english", "world"])
def test_moves_are_made_again_from_their_description(seat, game):
    env = wrapped(seat, **game)
    moves = env.get_wrapper_attr("moves")
    again = moves_of(moves.describe())
    assert again.names == moves.names
    env.reset(seed=3)
    request = env.unwrapped.request
    for k in range(len(moves.names)):
        assert again.say(k, request) == moves.say(k, request)


def test_wrong_arguments_are_refused_by_name():
    with pytest.raises(RedteamError, match="single_seat"):
        TacticActions(gymnasium.make("CartPole-v1"))
    with pytest.raises(RedteamError, match="Did you mean 'hashing'"):
        wrapped("attacker_0", embedder="hashin")
    with pytest.raises(RedteamError, match="Unknown view 'aksed'"):
        Features(HashingEmbedder(4), ["aksed"])
    with pytest.raises(RedteamError, match="no method say"):
        wrapped("attacker_0", moves=["a", "b"])
    with pytest.raises(RedteamError, match="kind 'other'"):
        moves_of({"kind": "other"})
    env = wrapped("attacker_0")
    env.reset(seed=0)
    for action in (-1, 7, 1.5, "a"):
        with pytest.raises(RedteamError, match="from 0 to 6"):
            env.step(action)


class Silent:
    def act(self, requests):
        return []


def test_an_opponent_that_leaves_out_a_reply_is_named():
    env = wrapped("attacker_0", opponent=Silent())
    env.reset(seed=0)
    with pytest.raises(RedteamError, match="agent of defender_0 gave 0 replies to 1 requests"):
        env.step(0)


class Counting:
    def __init__(self):
        self.calls = []

    def act(self, requests):
        self.calls.append(len(requests))
        return [Reply(text=f"no {request.path}") for request in requests]


@pytest.mark.parametrize("seat", ["attacker_0", "defender_0"])
def test_games_side_by_side_are_those_played_one_by_one_with_one_call_for_all(seat):
    shared = Counting()
    together = [redteam_env.single_seat(seat, shared, exchanges=2) for _ in range(4)]
    alone = [redteam_env.single_seat(seat, Counting(), exchanges=2) for _ in range(4)]
    found = reset_together(together, [5, 6, 7, 8], {"rewritten": True})
    assert found == [x.reset(seed=5 + k, options={"rewritten": True}) for k, x in enumerate(alone)]
    for _ in range(2):
        assert step_together(together, ["a", "b", "c", "d"]) == [
            x.step(text) for x, text in zip(alone, "abcd", strict=True)
        ]
    assert shared.calls == [4, 4]
