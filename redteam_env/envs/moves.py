"""Numbered moves that become text when they are played: what a discrete action means.

Moves of the controlled world come from its language
(:mod:`redteam_env.worlds.apothecary.moves`); in English they are text templates, in which ``{text}``
stands for the attacker's seed or, for the defender, for the last message to it.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from redteam_env.border.calls import Plugin, call
from redteam_env.game import RedteamError
from redteam_env.game.thinking import compose
from redteam_env.game.values import Unfit, shown
from redteam_env.game.values import text as text_of
from redteam_env.protocols import TurnRequest
from redteam_env.utils.reading import read_text
from redteam_env.worlds.apothecary import WorldConfig, make_world
from redteam_env.worlds.apothecary.moves import world_moves

SLOT = "{text}"
THOUGHT = "I play by numbers."


@runtime_checkable
class Moves(Protocol):
    """A fixed list of moves.

    ``names`` says what each move is called; ``say`` returns the text of move ``k`` in a turn, its
    randomness taken from the request's path only.
    """

    @property
    def names(self) -> Sequence[str]:
        """What each move is called, in the order of their numbers."""
        ...

    def say(self, move: int, request: TurnRequest) -> str:
        """Return the text of a move in a turn."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Return plain JSON that :func:`moves_of` makes equal moves from."""
        ...


class Templates:
    """Moves that are text templates.

    Args:
        texts: One template a move; ``{text}`` in it, any number of times, is replaced, and nothing
            in what replaces it is read as a template.

    Attributes:
        names: The templates themselves.

    Raises:
        RedteamError: If there are none, one is empty, or two are equal.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        if not texts or not all(isinstance(x, str) and x.strip() for x in texts):
            raise RedteamError(f"The templates are {list(texts)!r}; give at least one, none empty.")
        if twice := sorted({x for x in texts if texts.count(x) > 1}):
            raise RedteamError(f"The template {twice[0]!r} stands there twice; give it once.")
        self.names = tuple(texts)

    def say(self, move: int, request: TurnRequest) -> str:
        """Return a template with what it is about in its slot."""
        return self.names[move].replace(SLOT, asked(request))

    def describe(self) -> dict[str, Any]:
        """Return plain JSON that :func:`moves_of` makes equal moves from."""
        return {"kind": "templates", "texts": list(self.names)}


def asked(request: TurnRequest) -> str:
    """Return what a turn is about: the attacker's seed, or the last message to another seat."""
    if request.seed is not None:
        return request.seed.text
    return str(request.messages[-1]["content"])


def spoken(moves: Moves, move: int, request: TurnRequest) -> str:
    """Return a move as an action, in the think-answer format where the turn needs it."""
    text = call(
        Plugin(moves, f"list of moves {type(moves).__name__}"),
        "say",
        move,
        request,
        returns="the text of a move",
        read=_said,
    )
    return compose(THOUGHT, text) if request.prefill else text


def _said(value: Any) -> str:
    try:
        return text_of(value)
    except Unfit as unfit:
        raise Unfit(f"returned {shown(value)}", unfit.give) from None


@cache
def builtin_templates(role: str) -> tuple[str, ...]:
    """Return the English templates of a role; the attacker's first one is the seed unchanged."""
    file = resources.files("redteam_env.envs") / "templates" / f"{role}.txt"
    return tuple(file.read_text(encoding="utf-8").splitlines())


def read_templates(file: str | Path) -> Templates:
    """Read templates from a text file, one a line; empty lines are passed over.

    Raises:
        RedteamError: If the file cannot be read, or its templates are none.
    """
    try:
        lines = read_text(Path(file).expanduser()).splitlines()
    except (OSError, RedteamError) as error:
        raise RedteamError(
            f"Cannot read the templates {str(file)!r}: {error}. Give a text file with one template "
            f"a line, {SLOT} where the request belongs."
        ) from error
    return Templates([line for line in lines if line.strip()])


def moves_of(card: Mapping[str, Any]) -> Moves:
    """Return the moves that a description names.

    Args:
        card: What ``describe()`` of the controlled world's moves or of :class:`Templates` returned.

    Raises:
        RedteamError: If it describes neither.
    """
    try:
        if card["kind"] == "templates":
            return Templates(list(card["texts"]))
        if card["kind"] == "apothecary":
            world = make_world(WorldConfig.from_json(card["world"]))
            return world_moves(world, card["role"], card["most_tactics"])
    except (KeyError, TypeError) as error:
        raise RedteamError(
            f"These moves cannot be read: {type(error).__name__}: {error}."
        ) from error
    raise RedteamError(
        f"There are no moves of the kind {card['kind']!r}; use the version that wrote it."
    )
