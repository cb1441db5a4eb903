"""MAPPO: PPO whose critic is centralised (Yu et al., arXiv 2103.01955).

The actors are those of ``ppo``: each seat acts on what it sees, and its loss is PPO's clipped surrogate.
The critic reads the whole game up to the turn, as the environments' ``state()`` has it: the seed and its
label, and what both seats wrote, hidden thoughts included, followed by the tokens of the turn so far (the
paper's global state together with the agent's own). What the other seat hides explains a part of the return
that no critic over the seat's own observation can: that part leaves the advantages. The critic does not
read what comes after a token, so the baseline leaves the gradient unbiased, and it is used in training
alone: evaluation and play need nothing of it.

The game reaches the critic as tokens, in the chat form of :meth:`redteam_env.game.Game.open_messages`,
through the policy's ordinary value pass; long texts are cut as those of prompts are. As pay-offs differ by
role, each role has a head of its own, on its own weights. Simplified beside the paper: no value
normalisation (PopArt) and no value clipping; advantages are per turn, as in ``ppo``.

Needs a policy with value heads (:class:`redteam_env.protocols.ValuedPolicy`).
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from algorithms.core.actor_critic import ActorCritic
from algorithms.core.config import ActorCriticConfig
from algorithms.core.losses import clipped_surrogate
from redteam_env.border.policies import encode_example
from redteam_env.game import Game, GameState, RedteamError, Seed, above, role_of
from redteam_env.protocols import Batch, TrainablePolicy

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class MAPPOConfig(ActorCriticConfig):
    """Settings of MAPPO.

    Attributes:
        clip: Width of the clipped probability ratio.
    """

    clip: Annotated[float, above(0)] = 0.2


class MAPPO(ActorCritic):
    """PPO's clipped surrogate against a critic that reads both seats."""

    Config = MAPPOConfig

    def __init__(self, config: Any, *, policy: TrainablePolicy, game: Game, seed: int) -> None:
        super().__init__(config, policy=policy, game=game, seed=seed)
        self._game = game
        # both seats' rules may be too long for one prompt: say so now
        for harmful in (True, False):
            example = Seed(id="example", text="a", harmful=harmful)
            for seat in game.seats:
                state = GameState(seed=example, rewritten=True, turns=(), to_move=seat)
                self._prompt(policy, state, seat)

    def loss(self, batch: Batch) -> "torch.Tensor":
        """PPO's clipped surrogate, a mean over tokens."""
        return clipped_surrogate(
            batch.logprobs, batch.old, batch.advantages, batch.tokens, clip=self.config.clip
        )

    def seen(self, policy: TrainablePolicy, batch: Batch) -> Batch:
        """Return the rows with the whole game before each turn in the place of its prompt."""
        if not batch.turns or not batch.episodes:
            raise RedteamError(
                f"{type(self).__name__} reads whole games, but this batch was made from tokens alone; "
                "give Batch.of the turns, the episodes and the places of each row in these."
            )
        rows = []
        for k, generation in enumerate(batch.generations):
            episode, seat = batch.episodes[batch.episode_index[k]], batch.turns[k].seat
            state = GameState(
                seed=episode.seed,
                rewritten=episode.rewritten,
                turns=episode.turns[: batch.turn_index[k]],
                to_move=seat,
            )
            rows.append(replace(generation, prompt_ids=self._prompt(policy, state, seat)))
        return batch.with_(generations=tuple(rows))

    def _prompt(self, policy: TrainablePolicy, state: GameState, seat: str) -> tuple[int, ...]:
        """Return a state as tokens: the prompt of an example, whose answer is not used."""
        messages = self._game.open_messages(state, seat)
        answer, prefill = messages[0]["content"], self._game.prefill(seat)
        example = encode_example(policy, role_of(seat), messages, answer, prefill=prefill)
        prompt: tuple[int, ...] = example.prompt_ids
        return prompt
