"""Opponent samplers: who plays whom in each step, what they log, what they keep."""

from collections.abc import Mapping, Sequence
from typing import Any

from redteam_env.border.calls import Plugin, Read, call, each, mapping, nothing, record
from redteam_env.border.records import kept, metrics
from redteam_env.game.values import Unfit, text
from redteam_env.protocols import Match, OpponentSampler, Result, Row

METHODS = ("matches", "finish", "state", "load_state")


def _named(sampler: Any, name: str) -> Plugin:
    return Plugin(sampler, f"opponent sampler {name!r}", methods=False)


def matches(
    sampler: OpponentSampler,
    name: str,
    step: int,
    rewritten: Sequence[bool],
    weights: Mapping[str, str],
) -> list[Match]:
    """Return who plays each group of a step's games, and who learns.

    Args:
        sampler: The sampler.
        name: Its name.
        step: Steps done so far.
        rewritten: For each group, whether the attacker plays.
        weights: The current weights behind each trained role.

    Raises:
        RedteamError: If it raises, gives another number of matches than groups, or lets a role learn that
            the current weights do not play.
    """
    count = len(rewritten)

    def read(value: Any) -> Match:
        match = record(value, Match, _MATCH)
        for role, player in match.players.items():
            if "@" not in player and player not in weights.values():
                raise Unfit(
                    f"lets {player!r} play the {role}",
                    f"name current weights ({sorted(set(weights.values()))}) or a frozen version of them",
                )
        for role in match.learners:
            if match.players.get(role) != weights.get(role):
                raise Unfit(
                    f"lets the {role} learn from games that {match.players.get(role)!r} plays",
                    "only current weights learn",
                )
        return match

    return call(
        _named(sampler, name),
        "matches",
        step,
        rewritten,
        returns="one redteam_env.protocols.Match for each group, in order",
        read=lambda value: each(
            value, read, noun="matches", count=count, to=f"for {count} groups of games"
        ),
        games=lambda place: f"step {step}" if place is None else f"group {place} of step {step}",
    )


_MATCH: Mapping[str, Read[Any]] = {
    "players": lambda value: mapping(value, text, "names of weights"),
    "learners": lambda value: tuple(each(value, text, noun="roles")),
}


def finish(sampler: OpponentSampler, name: str, step: int, results: Sequence[Result]) -> Row:
    """Let a sampler take note of a step's games; return what it logs.

    Raises:
        RedteamError: If it raises, or returns anything else than numbers by name.
    """
    return call(
        _named(sampler, name),
        "finish",
        step,
        results,
        returns="a mapping of names to numbers or None",
        read=metrics,
    )


def state_of(sampler: OpponentSampler, name: str) -> dict[str, Any]:
    """Return what a resumed run needs of a sampler.

    Raises:
        RedteamError: If it raises, or returns what JSON cannot hold.
    """
    return call(_named(sampler, name), "state", returns="a mapping of plain JSON", read=kept)


def load_state(sampler: OpponentSampler, name: str, state: Mapping[str, Any]) -> None:
    """Give a sampler its state back.

    Raises:
        RedteamError: If it raises.
    """
    call(_named(sampler, name), "load_state", state, returns="nothing", read=nothing)
