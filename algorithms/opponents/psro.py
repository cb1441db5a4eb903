"""Policy-space response oracles (PSRO): best responses to a mixture of all past versions, round by round.

Lanctot et al., "A Unified Game-Theoretic Approach to Multiagent Reinforcement Learning" (arXiv
1711.00832), algorithm 1. Each round the roles learn against versions drawn by the other's meta-strategy;
then both are frozen, the pay-off matrix grows by a row and a column, and the meta-strategies are solved
anew. Simplified: both responses are learnt at once, by a fixed number of steps, and by default go on from
the weights of the round before instead of starting afresh. With shared weights one version is a row and
a column.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from algorithms.opponents.matching import (
    SIDES,
    against_versions,
    both_sides,
    drawn,
)
from algorithms.opponents.meta import MetaSolver, entropy, meta_strategies
from algorithms.opponents.payoffs import PayoffTable, mean_payoffs
from redteam_env.equilibria.solve import gains
from redteam_env.game import Count, check_fields
from redteam_env.protocols import League, Match, Result
from redteam_env.randomness import generator

Start = Literal["last", "first"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PSROConfig:
    """Settings of PSRO.

    Attributes:
        round_steps: Steps of learning a best response before both roles are frozen.
        response_from: Where a best response starts: last (the weights of the round before) or first (those
            of the start of the run, as in the paper; needs longer rounds, but does not get stuck where
            the weights have become sure of themselves).
        payoff_games: Games played for each new entry of the pay-off matrix; nobody learns from them.
        meta_solver: lp (zero-sum pay-offs only), nash (needs nashpy for small matrices), replicator,
            uniform, or auto (lp where it applies, else replicator).
        history: Most frozen versions of each role; the oldest of the least met goes first.
        opponents_per_step: Most different versions that each role meets in a step; each costs a batch
            of its own.
    """

    round_steps: Count = 10
    response_from: Start = "last"
    payoff_games: Count = 32
    meta_solver: MetaSolver = "auto"
    history: Count = 20
    opponents_per_step: Count = 4

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def least_steps(self) -> int:
        """Steps of the shortest run that makes sense: before the first round ends nothing is solved."""
        return self.round_steps


class PSRO:
    """A pay-off matrix over frozen versions, and its meta-strategies."""

    Config: ClassVar[Any] = PSROConfig
    mixture: ClassVar[bool] = True
    """The outcome of a run is its meta-strategy, not the last weights alone."""

    def __init__(self, config: PSROConfig, *, league: League, seed: int) -> None:
        self._config = config
        self._league = league
        self._seed = seed
        self._weights = both_sides(league.weights, "psro")
        self.table = PayoffTable()
        self.meta: dict[str, list[float]] = {role: [] for role in SIDES}
        self._first: dict[str, str] = {}
        self._measured = 0

    def matches(self, step: int, rewritten: Sequence[bool]) -> list[Match]:
        """Let each role learn against versions drawn by the other's meta-strategy."""
        if not self.table.attackers:
            self._first = {name: self._league.freeze(name) for name in self._weights.values()}
            self._grow()
        elif self._config.response_from == "first" and step % self._config.round_steps == 0:
            for version in self._first.values():
                self._league.recall(version)
        rng = generator((self._seed, "opponents", step))
        versions = {"attacker": self.table.attackers, "defender": self.table.defenders}
        count = self._config.opponents_per_step
        faced = {role: drawn(versions[role], self.meta[role], count, rng) for role in SIDES}
        return against_versions(self._weights, rewritten, faced)

    def finish(self, step: int, results: Sequence[Result]) -> Mapping[str, float]:  # noqa: ARG002 - the matrix is measured apart
        """End a round when it is due; log the meta-game."""
        measured, self._measured = self._measured, 0
        if (step + 1) % self._config.round_steps == 0:
            self._grow()
            measured, self._measured = measured + self._measured, 0
        tables = [self.table.table(role) for role in SIDES]
        mixtures = [np.asarray(self.meta[role]) for role in SIDES]
        regrets = gains(*tables, *mixtures)
        row: dict[str, float] = {"league/payoff_games": measured}
        for role, table, mixture, regret in zip(SIDES, tables, mixtures, regrets, strict=True):
            row[f"league/{role}_versions"] = len(mixture)
            row[f"league/{role}_value"] = float(mixtures[0] @ table @ mixtures[1])
            row[f"league/{role}_meta_entropy"] = entropy(mixture)
            row[f"league/{role}_meta_regret"] = regret
        return row

    def _grow(self) -> None:
        """Freeze both roles, measure what is new, solve."""
        row, column = (self._league.freeze(self._weights[role]) for role in SIDES)
        found = {}
        for attacker, defender in self.table.missing(row, column):
            players = {"attacker": attacker, "defender": defender}
            # the same seeds and draws for every pair of a round: differences are less noisy
            path = (self._seed, "payoffs", len(self.table.attackers))
            results = self._league.play(players, self._config.payoff_games, path=path)
            self._measured += self._config.payoff_games
            found[attacker, defender] = mean_payoffs(results, (attacker, defender))
        self.table.grow(row, column, found)
        self._solve()
        self._shrink()

    def _solve(self) -> None:
        row, column = (self.table.table(role) for role in SIDES)
        mixtures = meta_strategies(row, column, self._config.meta_solver)
        self.meta = {role: x.tolist() for role, x in zip(SIDES, mixtures, strict=True)}

    def _shrink(self) -> None:
        """Forget versions beyond the history: the least met, never the newest."""
        before = (*self.table.attackers, *self.table.defenders)
        for role in SIDES:
            shares = self.meta[role]
            while len(shares) > self._config.history:
                place = int(np.argmin(shares[:-1]))
                self.table.remove(role, place)
                del shares[place]
        left = (*self.table.attackers, *self.table.defenders)
        if left != before:
            self._solve()
        for version in sorted({*before} - {*left, *self._first.values()}):
            self._league.drop(version)

    def state(self) -> Mapping[str, Any]:
        """Return the pay-off matrix and the meta-strategies."""
        own = {"meta": self.meta, "first": self._first, "measured": self._measured}
        return {**self.table.to_json(), **own}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go back to a pay-off matrix."""
        self.table = PayoffTable.from_json(state)
        self.meta = {role: [float(x) for x in state["meta"][role]] for role in SIDES}
        self._first = dict(state["first"])
        self._measured = int(state["measured"])
