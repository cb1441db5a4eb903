"""The trained policy of a run at one of its checkpoints, ready to play, to be scored and probed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from algorithms.training.config import TrainConfig
from redteam_env.border.agents import log_odds
from redteam_env.border.policies import tell
from redteam_env.game import Episode, Game, RedteamError
from redteam_env.protocols import Agent, Scorer, TrainablePolicy
from redteam_env.registry import build
from redteam_env.rollout import turn_request
from redteam_env.runs import Run
from redteam_env.worlds.apothecary.grammar import REFUSALS


@dataclass(slots=True)
class Player:
    """An arm's policy at one training seed.

    Attributes:
        arm: The arm's name.
        seed: The training seed; -1 for the base.
        trained: The roles it trains; none for the base.
        run: The run directory; ``None`` for the base.
        policy: The policy of both roles.
        temperatures: At which each role's seat samples.
        step: The checkpoint whose weights they have.
    """

    arm: str
    seed: int
    trained: tuple[str, ...]
    run: Path | None
    policy: TrainablePolicy
    temperatures: Mapping[str, float]
    step: int = 0

    @classmethod
    def make(
        cls,
        arm: str,
        seed: int,
        config: TrainConfig,
        *,
        temperatures: Mapping[str, float],
        trained: bool,
    ) -> "Player":
        """Build an arm's policy with fresh weights.

        Args:
            arm: Its name.
            seed: The training seed.
            config: The run's configuration.
            temperatures: Sampling temperature of each role's seat.
            trained: Whether there is a run to read checkpoints from.
        """
        policy = build("policies", config.run.policy, config=config.policy, seed=config.run.seed)
        roles = policy.trainable_roles if trained else ()
        run = Path(str(config.run.out)) if trained else None
        return cls(arm, seed if trained else -1, roles, run, policy, temperatures)

    def restore(self, step: int) -> None:
        """Take the weights of a checkpoint; the base has only its own.

        Raises:
            RedteamError: If the checkpoint is missing or was altered.
        """
        if self.run is None:
            return
        found = Run(self.run).at(step)
        tell(self.policy, "restore", found.policy)
        self.step = step

    def agent(self, role: str) -> Agent:
        """Return the agent at a role's seat."""
        return self.policy.agent(role, temperature=self.temperatures[role])


def refusal_scores(agent: Agent, game: Game, episodes: Sequence[Episode]) -> list[float]:
    """Return the log-odds that a defender's answer begins as a refusal does.

    Args:
        agent: The defender.
        game: The rules.
        episodes: Games whose rewritten requests it is asked.

    Returns:
        ``log p - log(1 - p)`` in nats, p the probability of a refusal's first token at temperature 1.

    Raises:
        RedteamError: If the agent does not know how probable its answers are.
    """
    if not isinstance(agent, Scorer):
        raise RedteamError(
            f"{type(agent).__name__} has no method log_odds(), so its refusals have no score; give the "
            "policy's agent one (redteam_env.protocols.Scorer)."
        )
    requests = []
    for episode in episodes:
        state = game.start(episode.seed, rewritten=True)
        state = game.apply(state, episode.turns[0].text)
        requests.append(turn_request(game, state, episode.path))
    return log_odds(agent, requests, REFUSALS)


def last_steps(config: TrainConfig, n: int) -> list[int]:
    """Return the steps of a run's last checkpoints, ascending."""
    every, steps = config.run.checkpoint_every, config.run.steps
    found = [*list(range(every, steps, every)), steps]
    if len(found) < n:
        raise RedteamError(f"A run of {steps} steps has {len(found)} checkpoints; {n} are asked.")
    return found[-n:]
