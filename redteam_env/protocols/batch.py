"""What is learned from: one role's turns of a training step, as columns."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from redteam_env.game import Episode, Generation, RedteamError, Turn

_TOKENS = ("mask", "sampled", "old", "reference", "advantages", "weights")
_ROWS = ("rewards", "games", "groups", "episode_index", "turn_index")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """One role's turns, a row each, from the games that were played to a pass through the model.

    :func:`redteam_env.rollout.role_batches` makes one for each role. An algorithm adds columns
    (:meth:`with_`), takes rows for a minibatch and again for a pass (:meth:`take`), and puts them
    beside what the policy computed for these rows (:meth:`in_pass`). Columns of tokens have the shape
    (rows, longest completion), float64 where not said, 0 off the mask, and are padded on the right;
    in a pass they are tensors like the policy's log-probabilities.

    Attributes:
        role: Whose turns they are.
        generations: Prompt and completion tokens of each row, with what they were sampled at.
        mask: Completion tokens, booleans.
        sampled: Log-probabilities under the sampler, nats.
        rewards: What each row is credited with, shape (rows,): the reward of its game or, where turns
            are credited each with its own, what its exchange and the later ones paid.
        games: Number of each row's game among those of its role; the turns of one game share it,
            unless they are credited each with its own, integers (rows,).
        groups: Number of each row's group of games with one seed, or of turns with one seed at one
            exchange, integers (rows,).
        turns: The turn behind each row, with its texts; empty if the batch was made from tokens alone.
        episodes: The step's games, all seats' turns and verdicts in them; the batches of all roles
            hold the same. Empty if the batch was made from tokens alone.
        episode_index: Where each row's game is in ``episodes``, integers (rows,): it joins both
            seats' rows by game.
        turn_index: Where each row's turn is among the turns of its game, integers (rows,): what was
            said before it are those of a smaller index.
        step: The training step.
        old: Log-probabilities that ratios are taken to: the sampler's or the trainer's own.
        reference: Log-probabilities under the frozen reference.
        advantages: Advantage of each token.
        weights: Importance weights; ``None`` stands for 1.
        token_extra: Further columns of tokens by name, such as returns for a critic.
        row_extra: Further columns by name with anything a row, such as features, shape (rows, ...).
        logprobs: In a pass: log-probabilities under the current weights, with gradients.
        entropy: In a pass: of the distribution at each token, nats.
        distribution: In a pass, where it was asked for: log-probabilities of all words at each token.
    """

    role: str
    generations: tuple[Generation, ...]
    mask: Any
    sampled: Any
    rewards: Any
    games: Any
    groups: Any
    turns: tuple[Turn, ...] = ()
    episodes: tuple[Episode, ...] = ()
    episode_index: Any
    turn_index: Any
    step: int = 0
    old: Any = None
    reference: Any = None
    advantages: Any = None
    weights: Any = None
    token_extra: Mapping[str, Any] = field(default_factory=dict)
    row_extra: Mapping[str, Any] = field(default_factory=dict)
    logprobs: Any = None
    entropy: Any = None
    distribution: Any = None

    @classmethod
    def of(
        cls,
        role: str,
        generations: Sequence[Generation],
        rewards: Sequence[float],
        *,
        games: Sequence[int] | None = None,
        groups: Sequence[int] | None = None,
        turns: Sequence[Turn] = (),
        episodes: Sequence[Episode] = (),
        episode_index: Sequence[int] | None = None,
        turn_index: Sequence[int] | None = None,
        step: int = 0,
    ) -> Self:
        """Make a batch of tokens and rewards.

        Args:
            role: Whose turns they are.
            generations: A row each, at least one, with non-empty completions.
            rewards: The reward of each row's game.
            games: As the attribute; by default a game a row.
            groups: As the attribute; by default a group a game.
            turns: As the attribute.
            episodes: As the attribute.
            episode_index: As the attribute; by default that of ``games``.
            turn_index: As the attribute; by default the first turn of each game.
            step: As the attribute.

        Raises:
            RedteamError: If there are no rows, or not as many rewards, games or groups as rows.
        """
        given = {"rewards": rewards, "games": games, "groups": groups, "turns": turns or None}
        given |= {"episode_index": episode_index, "turn_index": turn_index}
        for name, values in given.items():
            if values is not None and len(values) != len(generations):
                raise RedteamError(
                    f"{name} has {len(values)} entries for {len(generations)} rows; give one for each."
                )
        if not generations:
            raise RedteamError("A batch needs at least one row; leave a role without any out.")
        numbers = np.arange(len(generations)) if games is None else np.asarray(games, dtype=int)
        lengths = [len(generation.completion_ids) for generation in generations]
        mask = np.arange(max(lengths)) < np.asarray(lengths)[:, None]
        sampled = np.zeros(mask.shape)
        for row, generation in zip(sampled, generations, strict=True):
            row[: len(generation.logprobs)] = generation.logprobs
        return cls(
            role=role,
            generations=tuple(generations),
            mask=mask,
            sampled=sampled,
            rewards=np.asarray(rewards, dtype=float),
            games=numbers,
            groups=numbers if groups is None else np.asarray(groups, dtype=int),
            turns=tuple(turns),
            episodes=tuple(episodes),
            episode_index=numbers
            if episode_index is None
            else np.asarray(episode_index, dtype=int),
            turn_index=np.zeros(len(generations), dtype=int)
            if turn_index is None
            else np.asarray(turn_index, dtype=int),
            step=step,
        )

    def __len__(self) -> int:
        return len(self.generations)

    @property
    def kl(self) -> Any:
        """The k1 estimate ``log pi(token) - log ref(token)`` of each token, nats; 0 off the mask."""
        return self.old - self.reference

    @property
    def tokens(self) -> Any:
        """The mask, times the importance weights where there are any."""
        return self.mask if self.weights is None else self.mask * self.weights

    @property
    def first(self) -> Any:
        """The first row of each game, integers (games,)."""
        return np.unique(self.games, return_index=True)[1]

    def with_(self, **columns: Any) -> Self:
        """Return the batch with columns added or replaced."""
        return dataclasses.replace(self, **columns)

    def take(self, rows: Sequence[int] | np.ndarray[Any, Any]) -> Self:
        """Return some rows, in the given order, as wide as the longest completion among them.

        Args:
            rows: Their places, or a boolean a row; at least one.
        """
        chosen = np.asarray(rows)
        places = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(int)
        longest = int(self.mask[places].sum(axis=1).max())

        def tokens(column: Any) -> Any:
            return None if column is None else column[places][:, :longest]

        return dataclasses.replace(
            self,
            generations=tuple(self.generations[k] for k in places),
            turns=tuple(self.turns[k] for k in places) if self.turns else (),
            token_extra={name: tokens(column) for name, column in self.token_extra.items()},
            row_extra={name: column[places] for name, column in self.row_extra.items()},
            **{name: tokens(getattr(self, name)) for name in _TOKENS},
            **{name: getattr(self, name)[places] for name in _ROWS},
        )

    def in_pass(self, found: Any) -> Self:
        """Return the batch beside what the policy computed for its rows.

        Columns of tokens, rewards and extra columns become tensors of the kind and on the device of
        the log-probabilities; games, groups and places stay integers.

        Args:
            found: What :meth:`TrainablePolicy.logprobs` returned for ``generations``.
        """
        like = found.logprobs

        def tensor(column: Any) -> Any:
            return None if column is None else like.new_tensor(column)

        names = ("sampled", "old", "reference", "advantages", "weights", "rewards")
        return dataclasses.replace(
            self,
            logprobs=like,
            entropy=found.entropy,
            distribution=getattr(found, "distribution", None),
            mask=found.mask,
            token_extra={name: tensor(column) for name, column in self.token_extra.items()},
            row_extra={name: tensor(column) for name, column in self.row_extra.items()},
            **{name: tensor(getattr(self, name)) for name in names},
        )
