import dataclasses
import sys
import types

import numpy as np
import pytest
from envs_fakes import HashJudge, tiny_source

import redteam_env
from redteam_env import EnvConfig, RedteamError
from redteam_env.envs import RedTeamAEC, RedTeamParallel
from redteam_env.game import Dialogue, Line
from redteam_env.testing import check_game
from redteam_env.testing.invariants import RULES


def tiny(**more):
    return {"seeds": tiny_source(), "judge": HashJudge(), **more}


def both(cycles=30, **how):
    return check_game(
        lambda: redteam_env.env(**tiny(**how)),
        parallel_factory=lambda: redteam_env.parallel_env(**tiny(**how)),
        cycles=cycles,
    )


@pytest.mark.filterwarnings("error")
def test_the_default_game_passes_pettingzoos_tests_and_our_own():
    report = check_game(
        redteam_env.env, parallel_factory=redteam_env.parallel_env, cycles=1000, seed=1
    )
    suites = {"api_test", "seed_test", "render_test", "state_test"}
    suites |= {"parallel_api_test", "parallel_seed_test"}
    assert suites | set(RULES) | {f"parallel: {rule}" for rule in RULES} <= set(report.passed)
    assert {"no torch", "both faces play the same game"} <= set(report.passed)


@pytest.mark.parametrize(
    "how",
    [
        {"thinking": "required", "exchanges": 3},
        {"thinking": "none", "rewards": "zero_sum"},
        {"thinking": {"attacker_0": "required"}, "rewards": "magic", "leak_on_violation": True},
        {"max_action_chars": 1, "faithfulness_gate": -2.0},
        {"rewrite_fraction": 0.0, "rewards": "safety_only", "drop_unfaithful": True},
    ],
)
def test_variants_of_the_settings_pass(how):
    assert "no torch" in both(**how).passed


def test_a_parallel_environment_can_be_checked_alone():
    report = check_game(lambda: redteam_env.parallel_env(**tiny()), cycles=5)
    assert "parallel_api_test" in report.passed
    assert "api_test" not in report.passed


def test_it_prints_nothing(capsys):
    both(cycles=1)
    assert capsys.readouterr().out == ""


class TalksOfThoughts(RedTeamAEC):
    def observe(self, agent):
        thoughts = " ".join(turn.thought for turn in self.session.running.turns)
        seen = super().observe(agent)
        return {**seen, "dialogue": seen["dialogue"], "instruction": thoughts[:900]}


class TellsThoughtsInInfos(RedTeamParallel):
    def _infos(self):
        thoughts = [turn.thought for turn in self.session.running.turns]
        return {seat: {**info, "note": thoughts} for seat, info in super()._infos().items()}


class GossipsToTheJudge(RedTeamAEC):
    def step(self, action):
        if self.agents and not self.terminations[self.agent_selection]:
            line = Line(seat=self.agent_selection, text=str(action))
            self.session.judge.judge([Dialogue(lines=(line,))])
        super().step(action)


class JudgesTwice(RedTeamAEC):
    def step(self, action):
        super().step(action)
        if self.episode is not None and not self.episode.forfeit and action is not None:
            self.session.judge.judge([self.episode.dialogue])


class PaysABonus(RedTeamAEC):
    def _update(self):
        super()._update()
        if self.session.episode is not None:
            self.rewards = {seat: reward + 1 for seat, reward in self.rewards.items()}
            for seat in self.agents:
                self._cumulative_rewards[seat] += 1


class HidesAComponent(RedTeamParallel):
    def _infos(self):
        infos = super()._infos()
        for info in infos.values():
            info.get("components", {}).pop("harm", None)
        return infos


class IgnoresTheSeed(RedTeamAEC):
    """Draws its games from fresh randomness, but only after the second one."""

    def reset(self, seed=None, options=None):
        super().reset(seed, options)
        if seed is None and not options:
            self.np_random = np.random.default_rng()


class PromptsEverybody(RedTeamAEC):
    def _update(self):
        super()._update()
        for info in self.infos.values():
            info["messages"] = [{"role": "system", "content": "Your turn?"}]


class ListensToAll(RedTeamParallel):
    def _observations(self):
        seen = super()._observations()
        return {seat: {**view, "instruction": self.heard} for seat, view in seen.items()}

    def reset(self, seed=None, options=None):
        self.heard = ""
        return super().reset(seed, options)

    def step(self, actions):
        mover = self.session.running.to_move
        self.heard = " ".join(text for seat, text in actions.items() if seat != mover)
        return super().step(actions)


class WritesPlainLines(RedTeamAEC):
    def observe(self, agent):
        lines = self.session.running.dialogue.lines
        plain = "\n".join(f'{{"seat": "{x.seat}", "text": "{x.text}"}}' for x in lines)
        return {**super().observe(agent), "dialogue": plain}


class RecordsDrawnGamesOtherwise(RedTeamAEC):
    def reset(self, seed=None, options=None):
        self.group = int(not options)
        super().reset(seed, options)

    @property
    def episode(self):
        episode = super().episode
        return episode and dataclasses.replace(episode, group=self.group)


class PaysVoidGames(RedTeamAEC):
    def _update(self):
        super()._update()
        episode = self.session.episode
        if episode is not None and episode.void:
            self.rewards = dict.fromkeys(self.agents, 1.0)


class HoldsALock(RedTeamAEC):
    def __init__(self, config):
        super().__init__(config)
        self.lock = (line for line in ())


class TinySpaces(RedTeamAEC):
    def observation_space(self, agent):
        space = super().observation_space(agent)
        space["dialogue"].max_length = 9000  # room for plain texts, but not for escaped ones
        return space


class Forgets(RedTeamAEC):
    def __deepcopy__(self, memo):
        return type(self)(self.session.config)


BROKEN = [
    ("no thought reaches another seat", TalksOfThoughts),
    ("no thought reaches another seat", TellsThoughtsInInfos),
    ("no thought reaches another seat", GossipsToTheJudge),
    ("the judge is asked exactly once", JudgesTwice),
    ("reward components sum to the reward", PaysABonus),
    ("reward components sum to the reward", HidesAComponent),
    ("same seed, same game", IgnoresTheSeed),
    ("only the seat to move acts", PromptsEverybody),
    ("only the seat to move acts", ListensToAll),
    ("no text can forge a turn", WritesPlainLines),
    ("a recorded game replays", RecordsDrawnGamesOtherwise),
    ("void games count for nothing", PaysVoidGames),
    ("running games can be copied", HoldsALock),
    ("running games can be copied", Forgets),
    ("observations and state stay in their spaces", TinySpaces),
]


@pytest.mark.parametrize(
    ("rule", "variant"), BROKEN, ids=[variant.__name__ for _, variant in BROKEN]
)
def test_a_broken_variant_fails_by_the_rule_it_breaks(rule, variant):
    with pytest.raises(AssertionError) as caught:
        check_game(lambda: variant(EnvConfig(**tiny())), cycles=3)
    assert f"Broken rule: {rule}: " in str(caught.value)


def test_every_rule_has_a_variant_that_breaks_it():
    assert {rule for rule, _ in BROKEN} == set(RULES)


def test_a_variant_that_breaks_pettingzoos_contract_fails_by_its_test():
    class ForgetsInfos(RedTeamAEC):
        def _update(self):
            super()._update()
            self.infos.pop("attacker_0", None)

    with pytest.raises(AssertionError, match="Broken rule: api_test: "):
        check_game(lambda: ForgetsInfos(EnvConfig(**tiny())), cycles=3)


def test_faces_that_play_different_games_fail():
    with pytest.raises(AssertionError, match="Broken rule: both faces play the same game: "):
        check_game(
            lambda: redteam_env.env(**tiny(rewards="magic")),
            parallel_factory=lambda: redteam_env.parallel_env(**tiny()),
            cycles=1,
        )


def test_a_variant_that_loads_torch_fails(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)

    def heavy():
        monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
        return redteam_env.env(**tiny())

    with pytest.raises(AssertionError, match="Broken rule: no torch: "):
        check_game(heavy, cycles=1)


def test_a_variant_that_hangs_fails():
    class GoesOn(RedTeamAEC):
        def step(self, action):
            super().step(action)
            if self.session.config.exchanges == 2 and self.session.episode is not None:
                self.terminations = dict.fromkeys(self.agents, False)

    with pytest.raises(AssertionError, match="Broken rule"):
        check_game(lambda: GoesOn(EnvConfig(**tiny(exchanges=2))), cycles=1)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"factory": redteam_env.env(**tiny())}, "factory is"),
        ({"factory": lambda: 3}, "returned int"),
        ({"factory": redteam_env.env, "parallel_factory": redteam_env.env}, "a parallel one"),
        ({"factory": redteam_env.env, "parallel_factory": 3}, "parallel_factory is 3"),
        ({"factory": redteam_env.env, "cycles": 0}, "cycles is 0"),
        ({"factory": redteam_env.env, "seed": -1}, "seed is -1"),
    ],
)
def test_wrong_arguments_are_named(arguments, told):
    with pytest.raises(RedteamError) as caught:
        check_game(**arguments)
    assert told in str(caught.value)


def test_other_peoples_environments_are_told_what_is_missing():
    import pettingzoo

    class Other(pettingzoo.AECEnv):
        pass

    with pytest.raises(RedteamError, match="Other has no session"):
        check_game(Other)
