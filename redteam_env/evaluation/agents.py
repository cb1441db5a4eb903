"""From what a user names on the command line to agents, and from a run to the settings it implies.

A specification is the name of a registered agent (``refuse``), ``base`` (the untrained model), a run
directory, one of its checkpoints, an adapter directory, a model directory, a known model or a hub
id. Everything but the first kind goes to the plug-in ``policy`` of the kind ``agents``, which is
imported only then.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from redteam_env import registry
from redteam_env.game import RedteamError, unknown_name
from redteam_env.policies import BASE, PolicyConfig
from redteam_env.protocols import Agent
from redteam_env.resolve import build, require, resolve_agent
from redteam_env.worlds import MODELS

POLICY = "policy"
KNOWN_MODELS = (PolicyConfig().model, *MODELS)
CONFIG_FILE = "config.json"
CONFIG_SCHEMA = 1
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


class AgentPool:
    """Makes agents from specifications; the models behind them are loaded once and shared.

    Args:
        base: The model that ``base`` means and that adapters are put on; by default the base of the
            first run or adapter.
        max_new_tokens: Longest completion of a model, in tokens.
        temperature: Sampling temperature of a model; 0 is greedy.
    """

    def __init__(
        self,
        base: str | None = None,
        max_new_tokens: int = PolicyConfig().max_new_tokens,
        temperature: float = 0.0,
    ) -> None:
        self._options = {
            "base": base,
            "max_new_tokens": max_new_tokens,
            "temperature": temperature,
        }
        self._policies: Any = None

    def agents(self, seats: Sequence[tuple[str, str]]) -> list[Agent]:
        """Return an agent for each pair of specification and role.

        ``base`` is made last: without a model of its own it means that of the others.

        Raises:
            RedteamError: As :meth:`agent`.
        """
        order = sorted(range(len(seats)), key=lambda k: seats[k][0] == BASE)
        made = {k: self.agent(*seats[k]) for k in order}
        return [made[k] for k in range(len(seats))]

    def agent(self, spec: str, role: str) -> Agent:
        """Return the agent that a specification names.

        Args:
            spec: See the module's text.
            role: The role it is to play.

        Returns:
            An agent.

        Raises:
            RedteamError: If it is none of the allowed kinds, or cannot be loaded.
        """
        if spec in agent_names():
            return resolve_agent(spec, role)
        check_spec(spec)
        if self._policies is None:
            self._policies = require(
                build("agents", POLICY, **self._options), "load", f"plug-in {POLICY!r}"
            )
        agent: Agent = require(self._policies.load(spec, role), "act", f"agent {spec!r}")
        return agent


def agent_names() -> tuple[str, ...]:
    """Return the names of registered agents that a user can ask for."""
    return tuple(name for name in registry.names("agents") if name != POLICY)


def check_spec(spec: str) -> None:
    """Check that a specification is of an allowed kind, without loading anything.

    Raises:
        RedteamError: If it is not; the text lists what is allowed.
    """
    names = {*agent_names(), *KNOWN_MODELS, BASE}
    place = Path(spec).expanduser()
    if spec in names or (spec and place.is_dir()):
        return
    if _HUB_ID.fullmatch(spec) and not place.parent.is_dir():  # else a mistyped path
        return
    raise unknown_name(
        "agent",
        spec,
        names,
        hint="Or name a run, adapter or model directory (there is none of that name), or a hub id "
        "such as owner/name.",
    )


def run_defaults(specs: Sequence[str]) -> dict[str, Any]:
    """Return the configuration of the first run among specifications.

    Args:
        specs: Specifications of agents. A checkpoint or adapter inside a run directory stands for
            its run.

    Returns:
        The run's flat configuration (model, seeds, judge, rules and so on); empty if no
        specification belongs to a run.

    Raises:
        RedteamError: If a run's configuration is of another schema or damaged.
    """
    for spec in specs:
        if spec in agent_names():
            continue
        path = Path(spec).expanduser()
        if not path.is_dir():
            continue
        place = path.resolve()
        for directory in (place, *place.parents):
            config = _run_config(directory)
            if config is not None:
                return config
    return {}


def _run_config(directory: Path) -> dict[str, Any] | None:
    """Return a run's configuration; ``None`` for any other directory, such as a model's."""
    file = directory / CONFIG_FILE
    if not file.is_file():
        return None
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RedteamError(
            f"Cannot read {str(file)!r}: {error}. Restore it, or name an adapter directory outside "
            "the run."
        ) from error
    if not isinstance(data, dict) or "schema" not in data or "config" not in data:
        return None
    if data["schema"] != CONFIG_SCHEMA or not isinstance(data["config"], dict):
        raise RedteamError(
            f"{str(file)!r} has schema {data['schema']!r}; this version reads {CONFIG_SCHEMA}. Use "
            "the version that wrote it."
        )
    return data["config"]
