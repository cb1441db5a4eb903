import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env

import redteam_env
from redteam_env import RedteamError, Reply, Seed
from redteam_env.randomness import generator
from redteam_env.wrappers import TacticActions

SEED = Seed(id="mine", text="Tell me a secret.", harmful=True)


class Recorder:
    """Answers with random words by path and remembers what it was asked."""

    def __init__(self, says=None):
        self.asked = []
        self.says = says

    def act(self, requests):
        self.asked += requests
        return [
            Reply(text=self.says or f"word {generator(request.path).integers(10**6)}")
            for request in requests
        ]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["redteam/Attacker-v0", "redteam/Defender-v0"])
@pytest.mark.parametrize("more", [{}, {"exchanges": 3, "thinking": "required"}])
def test_gymnasiums_checker_passes(name, more, tiny, capsys):
    check_env(gymnasium.make(name, **tiny, **more).unwrapped)


def test_the_attacker_view_plays_rewritten_games_only(tiny):
    env = redteam_env.single_seat("attacker_0", "refuse", **tiny, rewrite_fraction=0.0)
    for k in range(10):
        observation, info = env.reset(seed=k)
        assert info["to_move"] == "attacker_0"
        assert env.session.state.seed.text in observation["instruction"]
        assert observation["dialogue"] == ""
        _, _, over, cut, info = env.step("attack")
        assert (over, cut) == (True, False)
        assert info["redteam_episode"].rewritten


def test_the_defender_view_draws_both_kinds_of_game(tiny):
    opponent = Recorder()
    env = redteam_env.single_seat("defender_0", opponent, **tiny)
    kinds = set()
    for k in range(20):
        observation, info = env.reset(seed=k)
        kinds.add(env.session.state.rewritten)
        assert info["to_move"] == "defender_0"
        assert observation["dialogue"]
        *_, info = env.step("No.")
        assert info["redteam_episode"] == env.episode
    assert kinds == {True, False}
    assert {request.seat for request in opponent.asked} == {"attacker_0"}


@pytest.mark.parametrize(("seat", "moves"), [("attacker_0", 3), ("defender_0", 3)])
def test_several_exchanges_are_played_with_the_opponent(tiny, seat, moves):
    opponent = Recorder()
    env = redteam_env.single_seat(seat, opponent, **tiny, exchanges=3)
    env.reset(seed=0, options={"rewritten": True})
    steps = 0
    over = False
    while not over:
        _, reward, over, _, info = env.step(f"mine {steps}")
        steps += 1
    assert steps == moves
    assert len(opponent.asked) == 3
    assert len({request.path for request in opponent.asked}) == 3
    assert reward == env.episode.rewards[seat] == sum(info["components"].values())


def test_the_opponent_is_repeatable_by_the_environments_seed(tiny):
    def dialogues(seed):
        env = redteam_env.single_seat("attacker_0", Recorder(), **tiny)
        result = []
        for k in range(3):
            env.reset(seed=seed if k == 0 else None)
            result.append(env.step("attack")[0]["dialogue"])
        return result

    assert dialogues(1) == dialogues(1) != dialogues(2)
    assert len(set(dialogues(1))) == 3


def test_the_opponents_thoughts_stay_hidden(tiny):
    opponent = Recorder("<think>myplan</think><answer>hello</answer>")
    env = redteam_env.single_seat("defender_0", opponent, **tiny, exchanges=2)
    observation, info = env.reset(seed=0, options={"rewritten": True})
    assert "hello" in observation["dialogue"]
    assert "myplan" not in repr((observation, info))
    observation, _, _, _, info = env.step("No.")
    assert "myplan" not in repr((observation, info))


def test_a_game_forfeited_before_the_seat_moves_is_replaced(tiny):
    class Sloppy(Recorder):
        def act(self, requests):
            replies = super().act(requests)
            tidy = "<think>t</think><answer>a</answer>"
            return [Reply(text=tidy)] if len(self.asked) % 3 == 0 else replies

    opponent = Sloppy()
    env = redteam_env.single_seat("defender_0", opponent, **tiny, thinking="required")
    _, info = env.reset(seed=0, options={"rewritten": True})
    assert info["to_move"] == "defender_0"
    assert len(opponent.asked) == 3


def test_an_opponent_that_always_forfeits_is_an_error(tiny):
    env = redteam_env.single_seat("defender_0", Recorder("no tags"), **tiny, thinking="required")
    with pytest.raises(RedteamError, match="forfeited 100 games"):
        env.reset(seed=0, options={"rewritten": True})


def test_a_forfeit_of_the_opponent_later_ends_the_game(tiny):
    env = redteam_env.single_seat("attacker_0", Recorder("no tags"), **tiny, thinking="required")
    env.reset(seed=0)
    _, reward, over, _, info = env.step("<think>t</think><answer>a</answer>")
    assert (reward, over) == (0.0, True)
    assert info["redteam_episode"].forfeit == "defender_0"


def test_options_fix_the_game(tiny):
    env = redteam_env.single_seat("defender_0", "echo", **tiny)
    observation, _ = env.reset(seed=0, options={"seed": SEED, "rewritten": True})
    assert SEED.text in observation["dialogue"]
    with pytest.raises(RedteamError, match="raw game"):
        redteam_env.single_seat("attacker_0", **tiny).reset(options={"rewritten": False})


@pytest.mark.parametrize(
    ("seat", "opponent", "told"),
    [
        ("attacker_1", None, "Did you mean 'attacker_0'"),
        ("attacker_0", "refse", "Did you mean 'refuse'"),
        ("attacker_0", object(), "act"),
    ],
)
def test_wrong_seats_and_opponents_are_named(tiny, seat, opponent, told):
    with pytest.raises(RedteamError) as caught:
        redteam_env.single_seat(seat, opponent, **tiny)
    assert told in str(caught.value)


def test_statistics_of_gymnasium_can_be_recorded(tiny):
    env = gymnasium.wrappers.RecordEpisodeStatistics(
        redteam_env.single_seat("attacker_0", "refuse", **tiny)
    )
    env.reset(seed=0)
    *_, info = env.step("attack")
    assert info["episode"]["l"] == 1
    assert info["redteam_episode"].dialogue.prompt == "attack"


def test_several_can_be_played_side_by_side(tiny):
    envs = gymnasium.make_vec(
        "redteam/Defender-v0", num_envs=3, vectorization_mode="sync", **tiny, thinking="required"
    )
    observations, _ = envs.reset(seed=0)
    assert len(observations["dialogue"]) == 3
    _, rewards, over, _, infos = envs.step(["<think>t</think><answer>No.</answer>", "forfeit", "x"])
    assert over.all()
    assert [episode.rewards["defender_0"] for episode in infos["redteam_episode"]] == list(rewards)


def test_acting_before_reset_is_an_error(tiny):
    with pytest.raises(RedteamError, match="reset"):
        redteam_env.single_seat("attacker_0", **tiny).step("x")


@pytest.mark.parametrize("seat", ["attacker_0", "defender_0"])
def test_a_world_pays_more_than_one_value_against_nobody_in_particular(seat):
    env = TacticActions(redteam_env.single_seat(seat, world="apothecary", rewrite_fraction=1.0))
    paid = {move: [] for move in range(env.action_space.n)}
    for k in range(25):
        for move, rewards in paid.items():
            env.reset(seed=k)
            rewards.append(env.step(move)[1])
    means = {round(sum(x) / len(x), 3) for x in paid.values()}
    assert len({reward for rewards in paid.values() for reward in rewards}) > 2
    assert max(means) - min(means) > 1  # which move one chooses matters


def test_other_seeds_have_an_opponent_that_reads_any_text():
    env = redteam_env.single_seat(
        "defender_0", judge="apothecary", seeds="builtin", mix_worlds=True
    )
    observation, _ = env.reset(seed=0)
    assert observation["dialogue"]
