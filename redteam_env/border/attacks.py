"""Standing attacks: what they say of themselves, and the attempts that they made."""

from collections.abc import Sequence
from typing import Any

from redteam_env.border.calls import (
    Plugin,
    attribute,
    call,
    each,
    game_name,
    games_of,
    method_of,
    record,
)
from redteam_env.border.records import episode
from redteam_env.game import ATTACKER, Episode, Game, RedteamError
from redteam_env.game.values import Unfit, text, whole
from redteam_env.protocols import Agent, Attack, Attempts, GameSetup, Judge, Progress, Queries

_RETURNS = (
    "redteam_env.protocols.Attempts: for each setup its attempts in order, as judged games that the "
    "attacker rewrote, and the queries that they took"
)


def check_attack(attack: Any, name: str, game: Game) -> Attack:
    """Return an attack if it has what its protocol asks for and fits into a game.

    Args:
        attack: What the plug-in made.
        name: What messages call it.
        game: The rules of the games that it is to attack in.

    Raises:
        RedteamError: If it has no method ``attack``, no name or no number of exchanges, or needs more
            exchanges than the game has.
    """
    plugin = Plugin(attack, f"attack {name!r}")
    method_of(plugin, "attack")
    attribute(plugin, "name", text)
    needed = attribute(plugin, "exchanges", _count)
    if needed > game.exchanges:
        raise RedteamError(
            f"The attack {name!r} needs {needed} exchanges, but the game has {game.exchanges}; give "
            f"--exchanges {needed}, or choose another attack."
        )
    checked: Attack = attack
    return checked


def attempts(
    attack: Attack,
    setups: Sequence[GameSetup],
    target: Agent,
    judge: Judge,
    *,
    game: Game,
    attempts: int,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Attempts:
    """Let an attack make its attempts.

    Args:
        attack: The attack, from :func:`check_attack`.
        setups: Where to start from, at least one.
        target: Plays the defender's seat.
        judge: Reads the attempts.
        game: The rules.
        attempts: Most attempts at each setup, at least 1.
        batch_size: Most questions put to an agent at once; by default all.
        progress: Called as ``progress(phase, done, total)``.

    Raises:
        RedteamError: If ``attempts`` is below 1, or the attack raises or returns anything else than from
            one to that many judged games of each setup's seed.
    """
    if attempts < 1:
        raise RedteamError(f"attempts is {attempts}; give at least 1.")
    asked = list(setups)

    def read(value: Any) -> Attempts:
        return record(
            value,
            Attempts,
            {
                "episodes": lambda own: _of_setups(own, asked, game, attempts),
                "queries": lambda own: record(own, Queries, dict.fromkeys(_QUERIES, whole)),
            },
        )

    return call(
        Plugin(attack, f"attack {attack.name!r}"),
        "attack",
        asked,
        target,
        judge,
        returns=_RETURNS,
        read=read,
        games=games_of(lambda k: game_name(asked[k].path, asked[k].seed), len(asked)),
        game=game,
        attempts=attempts,
        batch_size=batch_size,
        progress=progress,
    )


_QUERIES = ("target", "attacker", "judge", "unread")


def _of_setups(
    value: Any, setups: Sequence[GameSetup], game: Game, most: int
) -> list[tuple[Episode, ...]]:
    left, count = iter(setups), len(setups)
    return each(
        value,
        lambda own: _of_setup(own, next(left), game, most),
        noun="lists of attempts",
        count=count,
        to=f"at {count} setups",
    )


def _of_setup(value: Any, setup: GameSetup, game: Game, most: int) -> tuple[Episode, ...]:
    found = tuple(each(value, lambda x: episode(x, game.seats), noun="attempts"))
    if not 1 <= len(found) <= most:
        raise Unfit(
            f"made {len(found)} attempts at the seed {setup.seed.id!r}", f"make 1 to {most}"
        )
    for one in found:
        said = sum(turn.seat == ATTACKER for turn in one.turns)
        if one.seed != setup.seed or not one.rewritten or not 1 <= said <= game.exchanges:
            raise Unfit(
                f"gave an attempt at the seed {setup.seed.id!r} that is a game of the seed "
                f"{one.seed.id!r} with {said} turns of the attacker",
                f"give rewritten games of the setup's seed with 1 to {game.exchanges} of them",
            )
    return found


def _count(value: Any) -> int:
    own = whole(value)
    if own < 1:
        raise Unfit(f"is {own}", "give at least 1")
    return own
