"""Which seeds are played again: those on which a seat fails, by an upper confidence bound (UCB).

SSP ("Be Your Own Red Teamer", arXiv 2601.10589) keeps a pool of experience and draws failures with low
rewards from it by UCB. Its formula was not available to us; ours is UCB1 (Auer, Cesa-Bianchi and Fischer,
2002): a seed that was played ``n`` times, of ``N`` in all, has for each role the score
``f + c sqrt(ln N / n)`` with ``f`` the share of its games in which the role's pay-off was negative. The
seeds with the highest scores come back; what the role says to them is sampled anew.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from redteam_env.game import (
    Episode,
    RedteamError,
    Seed,
    Share,
    at_least,
    check_fields,
    role_of,
)
from redteam_env.game.rewards import FORMAT
from redteam_env.protocols import Callback, GameSetup, Row, TrainingRun
from redteam_env.randomness import generator

SeedReplay = Literal["none", "ucb"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayConfig:
    """Which seeds are played again.

    Attributes:
        seed_replay: none, or ucb: return to seeds on which a trained seat fails.
        replay_share: Share of a step's seeds that come back, once there are some.
        replay_exploration: Weight of what is not known well: the c of UCB1.
    """

    seed_replay: SeedReplay = "none"
    replay_share: Share = 0.25
    replay_exploration: Annotated[float, at_least(0)] = 0.5

    def __post_init__(self) -> None:
        check_fields(self)


def payoff(episode: Episode, seat: str) -> float:
    """Return a seat's reward for a game without its format component."""
    return sum(x for name, x in episode.components[seat].items() if name != FORMAT)


def ucb(failures: float, games: float, total: float, exploration: float) -> float:
    """Return UCB1's score of a seed.

    Args:
        failures: Its games in which the role failed.
        games: Its games, at least 1.
        total: Games of all seeds.
        exploration: Weight of the second term.
    """
    return failures / games + exploration * math.sqrt(math.log(max(1.0, total)) / games)


class UcbReplay(Callback):
    """Counts failures of each trained role by seed, and brings seeds back.

    Args:
        config: Its settings.
        seed: The run's seed.
        roles: The trained roles.
        seeds: All seeds of the split that is played.
    """

    name = "replay"

    def __init__(
        self, config: ReplayConfig, roles: Sequence[str], seeds: Sequence[Seed], *, seed: int
    ) -> None:
        self._config = config
        self._seed = seed
        self._seeds = {seed.id: seed for seed in seeds}
        self._counts: dict[str, dict[str, list[int]]] = {role: {} for role in roles}

    def on_start(self, run: TrainingRun) -> None:
        """Take note of the run."""
        self._run = run

    def setups(self, step: int, setups: Sequence[GameSetup]) -> list[GameSetup]:
        """Return a step's games, some with seeds that come back.

        Labels, and who plays, stay as they are; so a raw game brings back what the defender fails on.

        Args:
            step: Addresses the randomness, with the run's seed.
            setups: The games as they were drawn.
        """
        first = {setup.group: setup for setup in reversed(setups)}
        groups = [
            int(k) for k in generator((self._seed, "replay", step)).permutation(sorted(first))
        ]
        wanted = groups[: round(self._config.replay_share * len(groups))]
        turn: dict[tuple[str, bool], int] = {}
        chosen: dict[int, Seed] = {}
        for place, group in enumerate(wanted):
            setup = first[group]
            role = self._role(place, setup.rewritten)
            key = role, setup.seed.harmful
            ranked = self._ranked(*key)
            if turn.get(key, 0) < len(ranked):
                chosen[group] = ranked[turn.get(key, 0)]
                turn[key] = turn.get(key, 0) + 1
        return [dataclasses.replace(x, seed=chosen.get(x.group, x.seed)) for x in setups]

    def _role(self, place: int, rewritten: bool) -> str:
        roles = list(self._counts)
        if not rewritten:
            return "defender"
        return roles[place % len(roles)]

    def _ranked(self, role: str, harmful: bool) -> list[Seed]:
        """Return the seeds of a label that were played, the highest score first."""
        counts = self._counts.get(role, {})
        total = sum(games for games, _ in counts.values())
        scores = {
            name: ucb(failures, games, total, self._config.replay_exploration)
            for name, (games, failures) in counts.items()
            if self._seeds[name].harmful == harmful
        }
        return [self._seeds[name] for name in sorted(scores, key=lambda x: (-scores[x], x))]

    def on_episodes(self, step: int, episodes: Sequence[Episode]) -> Sequence[Episode]:
        """Count a step's games, for each seat that no scripted opponent played."""
        for episode in episodes:
            if episode.void is not None or episode.seed.id not in self._seeds:
                continue
            script = self._run.scripted.get(episode.group)
            for turn in {turn.seat for turn in episode.turns}:
                if role_of(turn) in self._counts and role_of(turn) != script:
                    count = self._counts[role_of(turn)].setdefault(episode.seed.id, [0, 0])
                    count[:] = [count[0] + 1, count[1] + (payoff(episode, turn) < 0)]
        return episodes

    def on_update(self, step: int, row: Row) -> None:
        """Log how many seeds are known."""
        row |= {f"replay/{role}_seeds": len(counts) for role, counts in self._counts.items()}

    def state(self) -> Mapping[str, Any]:
        """Return all counts, as plain JSON."""
        return {"counts": self._counts}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go back to counts that :meth:`state` returned.

        Raises:
            RedteamError: If a seed is not in the source any more.
        """
        counts = {
            role: {k: list(x) for k, x in own.items()} for role, own in state["counts"].items()
        }
        missing = sorted({name for own in counts.values() for name in own} - set(self._seeds))
        if missing:
            raise RedteamError(
                f"The seeds {missing[:3]} of this run are not in its source any more; restore the data."
            )
        self._counts = counts
