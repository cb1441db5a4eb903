"""Every attacker against every defender on the same games.

A policy trained against itself can look strong only against itself; the table of all pairings shows
it. Attackers move first, so their rewrites are made once and shown to every defender; raw games do
not involve an attacker and are played once for each defender.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redteam_env.border.judges import check_judge
from redteam_env.border.records import demand
from redteam_env.evaluation.calibration import calibration_of
from redteam_env.evaluation.dispatch import MemoAgent
from redteam_env.evaluation.kept import KeptGames, asked
from redteam_env.evaluation.matchup import Matchup, correcting, matchup
from redteam_env.evaluation.rates import difference
from redteam_env.evaluation.rewrites import Variety, variety
from redteam_env.evaluation.statistics import Difference
from redteam_env.game import ATTACKER, DEFENDER, Episode, Game, RedteamError
from redteam_env.game.values import whole
from redteam_env.protocols import Agent, Embedder, GameSetup, Judge, Progress
from redteam_env.randomness import generator

COMPARED = ("attack_success", "over_refusal_rewritten", "over_refusal_raw")
"""Rates whose difference against the first defender is computed."""

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossPlay:
    """The table of all pairings.

    Attributes:
        attackers: Names of the rows.
        defenders: Names of the columns.
        cells: The matchup of each (attacker, defender).
        differences: For each rate of :data:`COMPARED` and each cell outside the first column: the
            cell minus the first column of its row.
    """

    attackers: tuple[str, ...]
    defenders: tuple[str, ...]
    cells: Mapping[Pair, Matchup]
    differences: Mapping[str, Mapping[Pair, Difference]]

    @property
    def played(self) -> list[Episode]:
        """Every game once: raw games are part of all cells of a column."""
        return [
            episode
            for (attacker, _), cell in self.cells.items()
            for episode in cell.episodes
            if episode.rewritten or attacker == self.attackers[0]
        ]

    def varieties(self, embedder: Embedder | None = None, *, name: str = "") -> dict[str, Variety]:
        """Measure how varied each attacker's rewrites are, in its games against the first defender.

        Args:
            embedder: Maps texts to unit vectors.
            name: What the embedder is called.

        Returns:
            The measures of each attacker that rewrote at least two requests.

        Raises:
            RedteamError: If the embedder breaks its protocol.
        """
        found = {
            attacker: variety(self.cells[attacker, self.defenders[0]].episodes, embedder, name=name)
            for attacker in self.attackers
        }
        return {attacker: own for attacker, own in found.items() if own is not None}

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON without text of any player."""
        return {
            "attackers": list(self.attackers),
            "defenders": list(self.defenders),
            "cells": [cell.to_json() for cell in self.cells.values()],
            "differences": [
                {
                    "rate": rate,
                    "attacker": attacker,
                    "defender": defender,
                    "against": self.defenders[0],
                    **found.to_json(),
                }
                for rate, row in self.differences.items()
                for (attacker, defender), found in row.items()
            ],
        }


def crossplay(
    attackers: Mapping[str, Agent],
    defenders: Mapping[str, Agent],
    setups: Sequence[GameSetup],
    judge: Judge,
    *,
    game: Game | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress | None = None,
    kept: KeptGames | None = None,
) -> CrossPlay:
    """Play every attacker against every defender.

    Args:
        attackers: Agents by name, at least one.
        defenders: The same for the other seat; the first is the one others are compared with.
        setups: The games, from :func:`~redteam_env.evaluation.matchup.heldout_setups`.
        judge: Reads the dialogues.
        game: The rules; by default :class:`~redteam_env.game.Game` as it stands.
        seed: Sets the bootstrap's random draws.
        batch_size: Most games handed to an agent in one call; by default all.
        progress: Called as ``progress(pairing and phase, done, total)``.
        kept: Keeps the games while they are played; by default nothing does.

    Returns:
        All matchups and their differences against the first column.

    Raises:
        RedteamError: If a side is empty, or an agent or the judge breaks its protocol.
    """
    if not attackers or not defenders:
        raise RedteamError("Cross-play needs at least one attacker and one defender; name them.")
    check_judge(judge)
    calibration = calibration_of(judge)
    seed = demand(seed, whole, "seed")
    rewriters = {name: MemoAgent(agent) for name, agent in attackers.items()}

    keeping = kept or KeptGames()

    def run(
        members: Sequence[int], agents: Mapping[str, Agent], name: str, title: str
    ) -> dict[int, Episode]:
        episodes = keeping.play(
            name,
            [setups[k] for k in members],
            agents,
            judge,
            game=game,
            batch_size=batch_size,
            progress=_titled(progress, title),
        )
        return dict(zip(members, episodes, strict=True))

    raw = [k for k, setup in enumerate(setups) if not setup.rewritten]
    rewritten = [k for k, setup in enumerate(setups) if setup.rewritten]
    direct = {
        name: run(raw, {DEFENDER: agent}, f"raw-defender-{k}", f"raw requests to {name}")
        for k, (name, agent) in enumerate(defenders.items())
    }
    pairings = {
        (attacker, defender): f"attacker-{k}-defender-{n}"
        for k, attacker in enumerate(attackers)
        for n, defender in enumerate(defenders)
    }
    _recall(keeping, pairings, [setups[k] for k in rewritten], rewriters, game)
    cells: dict[Pair, Matchup] = {}
    for attacker, rewriter in rewriters.items():
        for defender, agent in defenders.items():
            seats: dict[str, Agent] = {ATTACKER: rewriter, DEFENDER: agent}
            name, title = pairings[attacker, defender], f"{attacker} against {defender}"
            found = direct[defender] | run(rewritten, seats, name, title)
            episodes = [found[k] for k in range(len(setups))]
            known = correcting(calibration, attackers[attacker])
            cells[attacker, defender] = matchup(episodes, judge, (attacker, defender), known)
    return CrossPlay(
        attackers=tuple(attackers),
        defenders=tuple(defenders),
        cells=cells,
        differences={
            rate: _against_first(rate, cells, tuple(defenders), seed) for rate in COMPARED
        },
    )


def _recall(
    kept: KeptGames,
    pairings: Mapping[Pair, str],
    setups: Sequence[GameSetup],
    rewriters: Mapping[str, MemoAgent],
    game: Game | None,
) -> None:
    """Have the attackers remember what they said in games that are kept."""
    for (attacker, _), name in pairings.items():
        for k, episode in kept.known(name, setups).items():
            for request, reply in asked(setups[k], episode, game):
                if request.seat == ATTACKER:
                    rewriters[attacker].recall(request, reply)


def _against_first(
    rate: str, cells: Mapping[Pair, Matchup], defenders: tuple[str, ...], seed: int
) -> dict[Pair, Difference]:
    return {
        (attacker, defender): difference(
            cell.episodes,
            cells[attacker, defenders[0]].episodes,
            rate,
            generator((seed, "bootstrap", rate, attacker, defender)),
        )
        for (attacker, defender), cell in cells.items()
        if defender != defenders[0]
    }


def _titled(progress: Progress | None, title: str) -> Progress | None:
    if progress is None:
        return None

    def report(phase: str, done: int, total: int) -> None:
        progress(f"{title}: {phase}", done, total)

    return report
