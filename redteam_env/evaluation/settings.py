"""From a run's flat configuration to the rules of its game; training and evaluation both start here."""

from collections.abc import Mapping
from typing import Any

from redteam_env.envs.config import EnvConfig
from redteam_env.game import (
    ATTACKER,
    DEFENDER,
    Game,
    RedteamError,
    Thinking,
    unknown_name,
)

_FIELDS = (
    "rewards",
    "faithfulness_gate",
    "drop_unfaithful",
    "benign_refusal_weight",
    "exchanges",
    "thinking",
    "leak_on_violation",
    "prompts",
    "max_seed_chars",
    "max_action_chars",
)


def parse_thinking(text: str, seats: tuple[str, ...] = (ATTACKER, DEFENDER)) -> dict[str, Thinking]:
    """Read which seats think.

    Args:
        text: One rule for all seats (``none``, ``optional``, ``required``), or a rule for some,
            such as ``attacker_0=required,defender_0=none``.
        seats: The seats of the game.

    Returns:
        The rule of each seat that was named.

    Raises:
        RedteamError: If a seat or a rule is unknown, or a seat is named twice.
    """
    if not isinstance(text, str):
        raise RedteamError(f"thinking is {text!r}; give a text such as 'required'.")
    if "=" not in text:
        return dict.fromkeys(seats, _rule(text))
    rules: dict[str, Thinking] = {}
    for part in text.split(","):
        seat, _, rule = (piece.strip() for piece in part.partition("="))
        if seat not in seats:
            raise unknown_name("seat in thinking", seat, seats)
        if seat in rules:
            raise RedteamError(f"thinking names {seat} twice in {text!r}; give it one rule.")
        rules[seat] = _rule(rule)
    return rules


def _rule(name: str) -> Thinking:
    try:
        return Thinking(name.strip())
    except ValueError:
        raise unknown_name(
            "thinking rule",
            name,
            Thinking,
            hint="Or name seats: attacker_0=required,defender_0=none.",
        ) from None


def build_game(config: Mapping[str, Any]) -> Game:
    """Return the rules that a flat configuration describes.

    Args:
        config: Of the keys ``rewards`` (a preset's name, a table or a callable),
            ``faithfulness_gate``, ``drop_unfaithful``, ``benign_refusal_weight``, ``exchanges``,
            ``thinking`` (see :func:`parse_thinking`), ``leak_on_violation``, ``prompts`` (a
            directory or an embedded model), ``max_seed_chars`` and ``max_action_chars``, any that
            are there and not ``None``; all other keys are for others.

    Returns:
        A game; what is not configured is as in :class:`~redteam_env.game.Game`.

    Raises:
        RedteamError: If a value is wrong.
    """
    given = {name: config[name] for name in _FIELDS if config.get(name) is not None}
    if "thinking" in given:
        given["thinking"] = parse_thinking(given["thinking"])
    return EnvConfig(**given).game()
