"""Callbacks of a run: how they are called one after the other, and the plain ones every run has."""

from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from algorithms.core.divergence import check_update
from algorithms.core.ranks import current
from redteam_env.border import callbacks as border
from redteam_env.border.agents import usage_of
from redteam_env.game import Episode, RedteamError
from redteam_env.protocols import Agent, Callback, GameSetup, Row, TrainingRun, Usage
from redteam_env.registry import load, make, settings
from redteam_env.utils.lists import listed

OPTIONAL = ("best_checkpoint", "stop_on_metric")
"""The run's own callbacks that a resumed run may do without."""


class Callbacks:
    """Calls several callbacks in order; methods that one lacks are passed over.

    Args:
        callbacks: The callbacks.

    Raises:
        RedteamError: If one is a class or has no method of a callback, or two with a state have one
            name.
    """

    def __init__(self, callbacks: Sequence[Any]) -> None:
        self._all = list(callbacks)
        self._seats: Sequence[str] = ()
        self._started: list[Any] = []
        self._stateful: dict[str, Any] = {}
        for callback in self._all:
            border.check_callback(callback)
            if not border.has_state(callback):
                continue
            name = border.name_of(callback)
            if name in self._stateful:
                raise RedteamError(
                    f"Two callbacks with a state are called {name!r}; give one of them an attribute "
                    "name of its own."
                )
            self._stateful[name] = callback

    def _having(self, method: str) -> list[Any]:
        return [x for x in self._all if callable(getattr(x, method, None))]

    def on_start(self, run: TrainingRun) -> None:
        """Tell all that the run starts."""
        for callback in self._all:
            self._started.append(callback)
            if callable(getattr(callback, "on_start", None)):
                self._seats = run.game.seats
                border.tell(callback, "on_start", run)

    def setups(self, step: int, setups: Sequence[GameSetup]) -> Sequence[GameSetup]:
        """Return a step's games after all have seen them."""
        for callback in self._having("setups"):
            setups = border.setups(callback, step, setups)
        return setups

    def agent(self, role: str, setups: Sequence[GameSetup]) -> Agent | None:
        """Return the first answer to who plays a role."""
        for callback in self._having("agent"):
            agent = border.agent(callback, role, setups)
            if agent is not None:
                return agent
        return None

    def on_episodes(self, step: int, episodes: Sequence[Episode]) -> Sequence[Episode]:
        """Return a step's games as they are to be learned from."""
        for callback in self._having("on_episodes"):
            episodes = border.on_episodes(callback, step, episodes, self._seats)
        return episodes

    def on_update(self, step: int, row: Row) -> None:
        """Show all a step after its update."""
        for callback in self._having("on_update"):
            border.on_update(callback, step, row)

    def on_checkpoint(self, directory: Path) -> None:
        """Let all write into a checkpoint that is being made."""
        for callback in self._having("on_checkpoint"):
            border.tell(callback, "on_checkpoint", directory)

    def on_progress(self, phase: str, done: int, total: int) -> None:
        """Tell all how far a step is."""
        for callback in self._having("on_progress"):
            border.tell(callback, "on_progress", phase, done, total)

    def on_end(self, outcome: Any) -> None:
        """Let all that were started clean up, whatever the others do.

        Raises:
            RedteamError: For the first of them that raised, unless the run ended with an error of its own.
        """
        first: Exception | None = None
        for callback in self._started:
            try:
                if callable(getattr(callback, "on_end", None)):
                    border.tell(callback, "on_end", outcome)
            except Exception as error:  # noqa: BLE001 - the others clean up all the same
                first = first or error
        if first is not None and outcome is not None:
            raise first

    def state(self) -> dict[str, Any]:
        """Return the state of each that has one, by name."""
        found = {name: border.state_of(x) for name, x in self._stateful.items()}
        return {name: state for name, state in found.items() if state}

    def load_state(self, states: Mapping[str, Any], checkpoint: Path) -> None:
        """Give each its state back.

        Raises:
            RedteamError: If there is a state for a callback that the run does not have now.
        """
        for name, state in states.items():
            if name in self._stateful:
                border.load_state(self._stateful[name], state)
            elif name not in OPTIONAL:
                raise RedteamError(
                    f"{str(checkpoint)!r} holds the state of a callback {name!r}, which this run does "
                    "not have; give it again to resume."
                )

    def usage(self) -> list[dict[str, Any]]:
        """Return what agents and judge behind an API took in this call."""
        meters = [x for x in self._all if isinstance(x, UsageMeter)]
        return [entry for meter in meters for entry in meter.session()]


def named_callbacks(names: str | None, configs: Sequence[Any]) -> list[Any]:
    """Return the plug-in callbacks that a run names.

    Args:
        names: Their names, with a comma between them.
        configs: The settings of those that have some.

    Raises:
        RedteamError: If one is unknown or cannot be made.
    """
    made = []
    for name in listed(names):
        factory, kind = load("callbacks", name), callback_settings(name)
        own = [config for config in configs if kind is not None and isinstance(config, kind)]
        given = [] if kind is None else [own[0] if own else kind()]
        made.append(make("callbacks", name, factory, *given))
    return made


def callback_settings(name: str) -> Any:
    """Return the class of a callback's settings, ``None`` if it has none.

    Raises:
        RedteamError: If the callback is unknown, or its settings are no dataclass with defaults.
    """
    if getattr(load("callbacks", name), "Config", None) is None:
        return None
    return settings("callbacks", name)


class FixedAgents(Callback):
    """Lets named agents play the roles that are not trained.

    Args:
        agents: The agent of each such role.
    """

    def __init__(self, agents: Mapping[str, Agent]) -> None:
        self._agents = dict(agents)

    def agent(self, role: str, setups: Sequence[GameSetup]) -> Agent | None:
        """Return a role's agent."""
        return self._agents.get(role)


class DivergenceCheck(Callback):
    """Fails the step that makes weights which are not finite, before anything is saved."""

    def on_start(self, run: TrainingRun) -> None:
        """Take note of the run."""
        self._run = run

    def on_update(self, step: int, row: Row) -> None:
        """Check the weights, and what they give to what was played."""
        check_update(self._run.policy, self._run.batches)


class UsageMeter(Callback):
    """Logs what agents and judge behind an API took; in several processes, that of all together.

    Args:
        asked: For each role, for each scripted opponent (``scripted_ROLE_NUMBER``) and for ``judge``, what
            reports call it, and the agent or judge.
    """

    def __init__(self, asked: Mapping[str, tuple[str, Any]]) -> None:
        self._asked = dict(asked)
        self._before = self._read()

    def on_update(self, step: int, row: Row) -> None:
        """Add what was taken since the last step, as ``usage/ROLE/requests`` and so on."""
        before, self._before = self._before, self._read()
        for role, usage in self._before.items():
            for name, value in usage.to_json().items():
                if value is not None:
                    row[f"usage/{role}/{name}"] = value - getattr(before[role], name)

    def session(self) -> list[dict[str, Any]]:
        """Return what was taken in all, as :meth:`redteam_env.evaluation.AgentPool.usage` does."""
        return [
            {"agent": self._asked[role][0], "role": role, **usage.to_json()}
            for role, usage in self._read().items()
        ]

    def _read(self) -> dict[str, Usage]:
        own = {
            role: usage_of(thing, f"{role} {name!r}") for role, (name, thing) in self._asked.items()
        }
        parts = current().gather(
            {role: usage.to_json() for role, usage in own.items() if usage is not None}
        )
        return {
            role: reduce(Usage.plus, [Usage(**part[role]) for part in parts]) for role in parts[0]
        }


class Checkpoints(Callback):
    """Asks for a checkpoint every few steps; the last step has one in any case."""

    def on_start(self, run: TrainingRun) -> None:
        """Take note of the run."""
        self._run = run

    def on_update(self, step: int, row: Row) -> None:
        """Ask for a checkpoint if it is time."""
        if (step + 1) % self._run.config.run.checkpoint_every == 0:
            self._run.save()
