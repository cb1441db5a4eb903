"""Online DPO and IPO for two roles (AdvGame, arXiv 2512.20806; arXiv 2305.18290, 2310.12036).

Within a group of games that share the seed, each role's games are compared pair by pair, and its
weights take a step on DPO's (equation 7) or IPO's (equation 17) loss of
``h = log pi(a)/ref(a) - log pi(b)/ref(b)``, a mean over the pairs of an optimiser step; ``kl`` is
their beta. A game's log-probability is summed over the role's tokens in it.

AdvGame pairs the best with the worst of a group and asks a judge that compares; ours are all pairs
that differ (the same for groups of two), ordered by reward or, with ``preference = judge``, preferred
with the probability ``s(E[R_a] - E[R_b])``, ``s`` the logistic function, with expected rewards under
the judge's probabilities. AdvGame also samples two answers to each attack; a group of ours has one, so
a pair of the defender's answers has one prompt only if the games are raw; otherwise the normalisers of
two prompts are taken to be equal.

The gradient of a pair couples two games, so a step takes two passes: the first, without gradients,
gives each game's coefficient in the loss, the second the gradient of its log-probability (with
dropout each pass draws its own).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch

from algorithms.core.advantages import Array, game_returns, group_means, spread
from algorithms.core.config import PolicyGradientConfig
from algorithms.core.losses import Preference, preference_loss, score_function
from algorithms.core.passes import Log
from algorithms.core.policy_gradient import PolicyGradient
from algorithms.core.preferences import Pair, expected_reward, pairs
from redteam_env.border import algorithms as border
from redteam_env.game import Episode, Game, RedteamError, above
from redteam_env.protocols import Batch, TrainablePolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineDPOConfig(PolicyGradientConfig):
    """Settings of online DPO.

    Attributes:
        kl: DPO's and IPO's beta, above 0; AdvGame's.
        attacker_kl: The attacker's, if it differs.
        defender_kl: The defender's, if it differs.
        pair_loss: The loss of a pair, dpo or ipo.
        preference: How games of a group are compared: order (by reward; equal ones are no pair) or
            judge (by expected reward under the judge's probabilities).
    """

    kl: Annotated[float, above(0)] = 0.1
    attacker_kl: Annotated[float | None, above(0)] = None
    defender_kl: Annotated[float | None, above(0)] = None
    pair_loss: Preference = "dpo"
    preference: Literal["order", "judge"] = "order"

    def __post_init__(self) -> None:
        PolicyGradientConfig.__post_init__(self)
        bonuses = [f"{role}entropy_bonus" for role in ("", "attacker_", "defender_")]
        for name in ("importance_cap", *bonuses):
            if getattr(self, name):
                raise RedteamError(
                    f"{name} is {getattr(self, name)}, but online_dpo's loss is of pairs of games, not "
                    "of tokens; leave it out."
                )


class OnlineDPO(PolicyGradient):
    """Preferences between games of one seed, role by role."""

    Config = OnlineDPOConfig
    least_group = 2
    whole_groups = True
    turn_credit = False  # later turns of a group have different prompts, so they are no pair

    def __init__(self, config: Any, *, policy: TrainablePolicy, game: Game, seed: int) -> None:
        super().__init__(config, policy=policy, game=game, seed=seed)
        self._seed_labels = game.prompt_label == "seed"

    def advantages(self, batches: Mapping[str, Batch]) -> dict[str, Array]:
        """Return scores less their group's mean: a pair is preferred by their difference."""
        result = {}
        for role, own in batches.items():
            rewards = own.rewards
            if self.config.preference == "judge":
                limit = self.config.reward_clip
                played = [own.episodes[k] for k in own.episode_index]
                expected = [
                    expected_reward(episode, turn.seat, known=self._known(episode))
                    for episode, turn in zip(played, own.turns, strict=True)
                ]
                rewards = np.clip(expected, -limit, limit)
            scores = game_returns(rewards, own.kl, own.mask, own.games, beta=0.0)
            centred = scores - group_means(scores, own.groups[own.first])
            result[role] = spread(centred[own.games], own.mask)
        return result

    def _known(self, episode: Episode) -> tuple[str, ...]:
        """Return what of a verdict the game does not take from the judge: the label of a raw request."""
        return () if episode.rewritten or not self._seed_labels else ("prompt_harmful",)

    def loss(self, batch: Batch) -> torch.Tensor:
        """The second pass: a game's log-probability times its coefficient."""
        return score_function(batch.logprobs, batch.advantages, batch.mask)

    def accumulate(self, policy: TrainablePolicy, minibatch: Mapping[str, Batch], log: Log) -> None:
        """Add the gradient of one optimiser step's pairs."""
        soft = self.config.preference == "judge"
        found = {role: pairs(batch, soft=soft) for role, batch in minibatch.items()}
        count = sum(map(len, found.values()))
        weighted = {
            role: self._weighted(policy, minibatch[role], own, log)
            for role, own in sorted(found.items())
            if own
        }
        for batch in self.passes(policy, weighted):
            (border.loss(self, batch) / count).backward()
            log.tokens(batch)

    def _weighted(
        self, policy: TrainablePolicy, batch: Batch, found: list[Pair], log: Log
    ) -> Batch:
        """Return the paired games' rows, weighted by the loss's slope in their log-probability."""
        role = batch.role
        games = list(dict.fromkeys(game for a, b, _ in found for game in (a, b)))
        place = {game: k for k, game in enumerate(games)}
        paired = batch.take([k for k in range(len(batch)) if int(batch.games[k]) in place])
        rows = [place[int(game)] for game in paired.games]
        own = self.own_logprobs(policy, paired) - paired.reference
        ratios = torch.zeros(len(games), dtype=torch.float64)
        for row, ratio in zip(rows, own, strict=True):
            ratios[row] += float(ratio.sum())
        ratios.requires_grad_()
        better, worse = [place[a] for a, _, _ in found], [place[b] for _, b, _ in found]
        margins = ratios[better] - ratios[worse]
        loss = preference_loss(
            margins,
            torch.tensor([q for _, _, q in found], dtype=torch.float64),
            beta=self.config.of_role("kl", role),
            kind=self.config.pair_loss,
        )
        (slopes,) = torch.autograd.grad(loss, ratios)
        gaps = margins.detach()
        log.add(f"{role}/loss", float(loss.detach()) / len(found), len(found))
        log.add(f"{role}/margin", float(gaps.mean()), len(found))
        log.add(f"{role}/accuracy", float((gaps > 0).double().mean()), len(found))
        log.add(f"{role}/pairs", len(found))
        return paired.with_(advantages=spread(-slopes.numpy()[rows], paired.mask))
