"""Scripted opponents in any league: a share of each role's games is against agents that never learn.

Self-play meets only what the other side does today; a script goes on asking for what it gave up, such as
the tactics of a world, and a standing attack searches for what it still gives up. Whatever the opponent sampler chose, in a share of the games from which a role
learns the other side is one of the scripted agents. The sampler is not told of these games: its ratings and
pay-offs are of its own versions. Nor are they in what a step logs of its games
(:func:`algorithms.training.metrics.episode_metrics`): a script does not show what self-play came to.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from redteam_env.attacks.resolve import parse_attack
from redteam_env.game import RedteamError, Share, check_fields
from redteam_env.protocols import Agent, Match, Result, Row
from redteam_env.randomness import generator
from redteam_env.utils.lists import listed
from redteam_env.utils.places import ATTACK, MIXED

SELF = "self"
PREFIX = "scripted:"
"""Before the agent's specification, where players are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedConfig:
    """Scripted opponents beside those that the sampler chooses.

    Attributes:
        scripted_share: Share of the rewritten games from which a role learns that are against scripted
            opponents.
        scripted_attackers: Whom the defender meets in its share: agents as --opponent takes them, with a
            comma between them, drawn with equal chances.
        scripted_defenders: The same for the attacker.
    """

    scripted_share: Share = 0.0
    scripted_attackers: str | None = None
    scripted_defenders: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        given = [name for side in self.specs.values() for name in side]
        if bool(given) != bool(self.scripted_share):
            raise RedteamError(
                f"scripted_share is {self.scripted_share}, and the scripted opponents are {given}; give a "
                "share above 0 and at least one of scripted_attackers and scripted_defenders, or none "
                "of them."
            )

    @property
    def specs(self) -> dict[str, tuple[str, ...]]:
        """The specifications of the scripted agents of each role."""
        sides = {"attacker": self.scripted_attackers, "defender": self.scripted_defenders}
        return {role: listed(text) for role, text in sides.items()}


def sampler_of(opponents: str) -> str:
    """Return the opponent sampler that ``opponents`` names; for ``mixed:...`` that of self-play."""
    return "self_play" if opponents.startswith(MIXED) else opponents


def mixed_config(opponents: str) -> ScriptedConfig | None:
    """Return the scripted opponents that ``mixed:METHOD,...,self`` stands for; ``None`` for other samplers.

    Of the games from which the defender learns, each of the methods has an equal share, and so has
    self-play if it is among them.

    Raises:
        RedteamError: If no standing attack is named, or a specification is wrong.
    """
    if not opponents.startswith(MIXED):
        return None
    names = listed(opponents.removeprefix(MIXED))
    methods = [name for name in names if name != SELF]
    if not methods:
        raise RedteamError(
            f"opponents is {opponents!r}; name standing attacks and self, such as mixed:pair,self."
        )
    for method in methods:
        parse_attack(method)
    return ScriptedConfig(
        scripted_share=len(methods) / len(names),
        scripted_attackers=",".join(f"{ATTACK}{method}" for method in methods),
    )


class ScriptedOpponents:
    """Puts scripted agents into the matches of a step, and counts what came of it.

    Args:
        config: Whom, and how often.
        agents: The agents of each role by specification.
        seed: The run's seed.
    """

    def __init__(
        self, config: ScriptedConfig, agents: Mapping[str, Mapping[str, Agent]], *, seed: int
    ) -> None:
        self._share = config.scripted_share
        self._agents = {role: dict(own) for role, own in agents.items() if own}
        self._seed = seed
        self._games = {role: dict.fromkeys(own, 0) for role, own in self._agents.items()}
        self._step: dict[str, list[float]] = {}

    @property
    def active(self) -> bool:
        """Whether there are scripted opponents."""
        return bool(self._agents)

    def mixed(
        self, step: int, matches: Sequence[Match], rewritten: Sequence[bool]
    ) -> Sequence[Match]:
        """Return a step's matches with scripted agents in their share of them.

        Args:
            step: Steps done so far; it addresses the draw, so a resumed run draws the same.
            matches: What the sampler chose.
            rewritten: For each match, whether the attacker plays.
        """
        if not self.active:
            return matches
        rng = generator((self._seed, "scripted", step))
        draws = rng.random((len(matches), 2))
        return [
            self._mix(match, *draw) if rewrites else match
            for match, rewrites, draw in zip(matches, rewritten, draws, strict=True)
        ]

    def _mix(self, match: Match, chance: float, choice: float) -> Match:
        # a scripted agent may take a seat if the other seat learns
        sides = [role for role in self._agents if set(match.learners) - {role}]
        both = (
            len(sides) == len(match.learners) == 2
        )  # a game that one loses is one less of its own
        part = self._share / (1 + self._share) if both else self._share
        place = int(chance // part) if part else len(sides)
        if place >= len(sides):
            return match
        role = sides[place]
        specs = list(self._agents[role])
        name = f"{PREFIX}{specs[int(choice * len(specs))]}"
        learners = tuple(x for x in match.learners if x != role)
        return replace(match, players={**match.players, role: name}, learners=learners)

    def agent(self, role: str, name: str) -> Agent:
        """Return the agent behind a player's name."""
        return self._agents[role][name.removeprefix(PREFIX)]

    def own(self, results: Sequence[Result]) -> list[Result]:
        """Take note of a step's games against scripted agents; return the others."""
        self._step = {role: [] for role in self._agents}
        left = []
        for result in results:
            scripts = {r: name for r, name in result.players.items() if is_scripted(name)}
            if not scripts:
                left.append(result)
            for role, name in scripts.items():
                self._games[role][name.removeprefix(PREFIX)] += 1
                self._step[role] += [pay for r, pay in result.payoffs.items() if r != role]
        return left

    def row(self) -> Row:
        """Return what a step logs: by scripted side, its games and what they paid the other one."""
        row: Row = {}
        for role, paid in self._step.items():
            row[f"league/scripted_{role}_games"] = len(paid)
            row[f"league/payoff_against_scripted_{role}"] = sum(paid) / len(paid) if paid else None
        return row

    def state(self) -> Mapping[str, Any]:
        """Return the share and the games so far of each agent, as plain JSON."""
        return {"share": self._share, "games": self._games} if self.active else {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go back to a state that :meth:`state` returned."""
        for role, games in state.get("games", {}).items():
            self._games[role].update(games)


def is_scripted(name: str) -> bool:
    """Return whether a player's name is that of a scripted agent."""
    return name.startswith(PREFIX)
