"""The trained policy of a run at one of its checkpoints, ready to play, to be scored and probed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from algorithms.training.config import TrainConfig
from redteam_env.game import DEFENDER, Game, GameState, Generation, RedteamError, role_of
from redteam_env.protocols import Agent, TrainablePolicy
from redteam_env.registry import build
from redteam_env.runs import Run
from redteam_env.worlds.apothecary.grammar import REFUSALS

_ROWS = 256


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
        self.policy.restore(found.policy)
        self.step = step

    def agent(self, role: str, *, weights_of: str | None = None) -> Agent:
        """Return the agent at a role's seat.

        Args:
            role: The seat's role; decides the temperature.
            weights_of: Whose weights play; by default the role's own.
        """
        return self.policy.agent(weights_of or role, temperature=self.temperatures[role])

    def refusal_scores(
        self, game: Game, states: Sequence[GameState], *, weights_of: str = "defender"
    ) -> list[float]:
        """Return the log-odds that the answer begins as a refusal does.

        Args:
            game: The rules.
            states: Games in which the defender is to move.
            weights_of: Whose weights answer.

        Returns:
            ``log p - log(1 - p)`` in nats, p the probability of a refusal's first token at
            temperature 1.
        """
        policy = self.policy
        prompts = [
            policy.encode_example(
                role_of(DEFENDER),
                game.messages(state, DEFENDER),
                REFUSALS[0],
                prefill=game.prefill(DEFENDER),
            )
            for state in states
        ]
        openings = _first_tokens(policy, game, states[0])
        order = sorted(range(len(prompts)), key=lambda k: len(prompts[k].prompt_ids))
        found: dict[int, float] = {}
        for start in range(0, len(order), _ROWS):
            chunk = order[start : start + _ROWS]
            with torch.no_grad():
                logs = [
                    policy.logprobs(weights_of, [_opening(prompts[k], token) for k in chunk])
                    for token in openings
                ]
            values = torch.logsumexp(
                torch.stack([x.logprobs[:, 0].double() for x in logs]), dim=0
            ).tolist()
            found.update(zip(chunk, values, strict=True))
        return [_log_odds(found[k]) for k in range(len(prompts))]


def _first_tokens(policy: TrainablePolicy, game: Game, state: GameState) -> list[int]:
    messages = game.messages(state, DEFENDER)
    examples = [policy.encode_example("defender", messages, text) for text in REFUSALS]
    return sorted({example.completion_ids[0] for example in examples})


def _opening(prompt: Generation, token: int) -> Generation:
    return replace(prompt, completion_ids=(token,), logprobs=(0.0,), temperature=1.0)


def _log_odds(log_p: float) -> float:
    log_p = min(log_p, -1e-12)
    return log_p - math.log(-math.expm1(log_p))


def last_steps(config: TrainConfig, n: int) -> list[int]:
    """Return the steps of a run's last checkpoints, ascending."""
    every, steps = config.run.checkpoint_every, config.run.steps
    found = [*list(range(every, steps, every)), steps]
    if len(found) < n:
        raise RedteamError(f"A run of {steps} steps has {len(found)} checkpoints; {n} are asked.")
    return found[-n:]
