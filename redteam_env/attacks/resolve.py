"""From what a user names to the attack that is meant.

A specification is ``METHOD``, perhaps with who writes for it, ``METHOD:AGENT``, and with options behind it as
in a web address, ``?key=value&key=value``. Examples: ``best_of_n?sigma=0.2``, ``pair:smollm2?depth=5``,
``run:runs/3b``, ``template?file=frames.txt``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redteam_env.game import RedteamError
from redteam_env.protocols import Agent
from redteam_env.registry import build, load, names, unknown_plugin
from redteam_env.utils.lists import queried, value_of
from redteam_env.utils.places import ATTACK, code_hint

_OPTIONS = re.compile(r"\?(?=[a-z_]+=)")
_RESERVED = ("kind", "name", "attacker", "seed")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackSpec:
    """An attack as a user names it.

    Attributes:
        method: A registered attack.
        attacker: The specification of the agent that writes for it, or ``None``.
        options: Its options.
    """

    method: str
    attacker: str | None
    options: Mapping[str, Any]

    @property
    def asks_model(self) -> bool:
        """Whether the method asks an agent for its messages.

        Raises:
            RedteamError: If the method cannot be loaded.
        """
        return bool(getattr(load("attacks", self.method), "asks_model", False))


def parse_attack(spec: str) -> AttackSpec:
    """Take a specification apart, without loading anything.

    Raises:
        RedteamError: If the method is unknown or an option cannot be read.
    """
    start = match.start() if (match := _OPTIONS.search(spec)) else len(spec)
    head, (_, query) = spec[:start], queried(spec[start:])
    known = names("attacks")
    method = max((x for x in known if f"{head}:".startswith(f"{x}:")), key=len, default="")
    if not method:
        named = head if code_hint(head) else head.partition(":")[0]
        raise unknown_plugin("attacks", named, known)
    colon, attacker = head[len(method) : len(method) + 1], head[len(method) + 1 :]
    if colon and not attacker:
        raise RedteamError(
            f"The attack {spec!r} has no agent behind its colon; write METHOD:AGENT."
        )
    options = {name: value_of(text) for name, text in query.items()}
    if reserved := sorted(set(options) & set(_RESERVED)):
        raise RedteamError(
            f"The attack {spec!r} has the option {reserved[0]!r}, which is set otherwise; leave it out."
        )
    return AttackSpec(method=method, attacker=attacker or None, options=options)


def is_attack(agent: str) -> bool:
    """Whether the specification of an agent names a standing attack."""
    return agent.startswith(ATTACK)


def parse_attack_agent(agent: str) -> AttackSpec:
    """Take the specification of an agent apart that is a standing attack, such as ``attack:pair``.

    Raises:
        RedteamError: As :func:`parse_attack`.
    """
    return parse_attack(agent.removeprefix(ATTACK))


def resolve_attack(spec: str | AttackSpec, *, attacker: Agent | None, seed: int = 0) -> Any:
    """Return the attack that a specification names.

    Args:
        spec: The specification.
        attacker: The agent that writes for it.
        seed: Begins the address of its draws.

    Returns:
        The attack; :func:`redteam_env.border.attacks.check_attack` says whether it fits into a game.

    Raises:
        RedteamError: If the method is unknown, lacks an attacker, or refuses an option.
    """
    own = parse_attack(spec) if isinstance(spec, str) else spec
    return build("attacks", own.method, attacker=attacker, seed=seed, **own.options)
