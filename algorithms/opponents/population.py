"""A population of versions a seat, matched by rating; the weakest gives way to a child of the strongest.

After PopuLoRA ("PopuLoRA: Co-Evolving LLM Populations for Reasoning Self-Play", arXiv 2605.16727): several
adapters a role on one frozen base, cross-evaluation between the sub-populations, replacement by mutation
and crossover of adapter weights. The paper's operators and schedule were not available to us; these are
ours. In a generation every member trains once, for some steps, matched by rating: the weakest attacker
with the weakest defender and so on up. Then all play all, ratings are made from that
(:mod:`redteam_env.evaluation.ratings`), and each weights' weakest member is replaced by a child of the
two strongest: each layer from one of the two, plus noise. One optimiser a role serves all its members.

The strongest pair trains last and is put back at the end of a generation: then the run's own weights are
its best members. Shared weights train against the frozen member rated next to them, in both seats.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from algorithms.opponents.matching import (
    SIDES,
    against_versions,
    both_sides,
    current,
)
from redteam_env.evaluation.ratings import Duel, ratings
from redteam_env.game import Count, at_least, check_fields
from redteam_env.protocols import League, Match, Result
from redteam_env.randomness import generator


@dataclass(frozen=True, slots=True, kw_only=True)
class PopulationConfig:
    """Settings of a population.

    Attributes:
        members: Versions of each weights, at least 2.
        member_steps: Steps that a member trains before the next one does.
        rating_games: Games of each pair of members at the end of a generation; nobody learns from them.
        mutation: Noise on a child's weights, in units of each tensor's root mean square.
    """

    members: Annotated[int, at_least(2)] = 4
    member_steps: Count = 5
    rating_games: Count = 8
    mutation: Annotated[float, at_least(0)] = 0.02

    def __post_init__(self) -> None:
        check_fields(self)


class Population:
    """Members a role, matched by rating; the weakest is replaced."""

    Config: ClassVar[Any] = PopulationConfig

    def __init__(self, config: PopulationConfig, *, league: League, seed: int) -> None:
        self._config = config
        self._league = league
        self._seed = seed
        self._weights = both_sides(league.weights, "population")
        self._members: dict[str, list[str]] = {}
        self._children = 0

    def matches(self, step: int, rewritten: Sequence[bool]) -> list[Match]:
        """Put a pair of members in their seats when it is their turn."""
        if not self._members:
            self._found()
        turn, within = divmod(step, self._config.member_steps)
        place = turn % self._config.members
        if within == 0:
            for members in self._members.values():
                self._league.recall(members[place])
        if len(self._members) > 1:
            return [current(self._weights) for _ in rewritten]
        (members,) = self._members.values()
        faced = [members[place - 1 if place else 1]]
        return against_versions(self._weights, rewritten, dict.fromkeys(SIDES, faced))

    def _found(self) -> None:
        for name in dict.fromkeys(self._weights.values()):
            first = self._league.freeze(name)
            more = [self._child([first]) for _ in range(1, self._config.members)]
            self._members[name] = [first, *more]

    def _child(self, parents: Sequence[str]) -> str:
        self._children += 1
        path = (self._seed, "child", self._children)
        return self._league.breed(parents, noise=self._config.mutation, path=path)

    def finish(self, step: int, results: Sequence[Result]) -> Mapping[str, float]:  # noqa: ARG002 - ratings have games of their own
        """End a member's turn and a generation when they are due."""
        turn, within = divmod(step, self._config.member_steps)
        place = turn % self._config.members
        row: dict[str, float] = {"league/member": place, "league/payoff_games": 0}
        if within + 1 == self._config.member_steps:
            for name, members in self._members.items():
                before, members[place] = members[place], self._league.freeze(name)
                if members[place] != before:
                    self._league.drop(before)
            if place + 1 == self._config.members:
                row |= self._end_generation(step)
        return row

    def _end_generation(self, step: int) -> dict[str, float]:
        """Order members by rating, let a child take the weakest one's place, put the best back."""
        row: dict[str, float] = {
            "league/payoff_games": self._config.members**2 * self._config.rating_games
        }
        skills = self._skills(step)
        for name, members in self._members.items():
            members.sort(key=skills.__getitem__)
            row[f"league/{name}_best_rating"] = skills[members[-1]]
            row[f"league/{name}_worst_rating"] = skills[members[0]]
            weakest, members[0] = members[0], self._child([members[-1], members[-2]])
            self._league.drop(weakest)
            self._league.recall(members[-1])
        return row

    def _skills(self, step: int) -> dict[str, float]:
        """Return the mean rating of each version over its seats, from games of all against all."""
        duels = []
        attackers, defenders = (self._members[self._weights[role]] for role in SIDES)
        for attacker in attackers:
            for defender in defenders:
                players = {"attacker": attacker, "defender": defender}
                games = self._league.play(
                    players, self._config.rating_games, path=(self._seed, "ratings", step)
                )
                duels += [
                    Duel(
                        attacker=attacker,
                        defender=defender,
                        attacker_won=x.payoffs["attacker"] > x.payoffs["defender"],
                    )
                    for x in games
                ]
        seats = ratings(duels, generator((self._seed, "rating order", step)))
        found = {}
        for members in self._members.values():
            for version in members:
                means = [skills[version].mean for skills in seats if version in skills]
                found[version] = sum(means) / len(means) if means else 0.0
        return found

    def state(self) -> Mapping[str, Any]:
        """Return the members."""
        return {"members": self._members, "children": self._children}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go back to a population."""
        self._members = {name: list(x) for name, x in state["members"].items()}
        self._children = int(state["children"])
