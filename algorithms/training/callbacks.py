"""Callbacks of a run: how they are called one after the other, and the plain ones every run has."""

import inspect
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from algorithms.core.divergence import check_update
from algorithms.core.ranks import current
from redteam_env.game import Episode, RedteamError
from redteam_env.protocols import Agent, Callback, GameSetup, Row, TrainingRun, Usage
from redteam_env.registry import load, settings

OPTIONAL = ("best_checkpoint", "stop_on_metric")
"""The run's own callbacks that a resumed run may do without."""
HOOKS = tuple(name for name in vars(Callback) if not name.startswith("_"))


class Callbacks:
    """Calls several callbacks in order; methods that one lacks are passed over.

    Args:
        callbacks: The callbacks; one with a state is known by its class's name, or ``name``.

    Raises:
        RedteamError: If two have one name, or one is a class instead of an object.
    """

    def __init__(self, callbacks: Sequence[Any]) -> None:
        self._named: dict[str, Any] = {}
        for callback in callbacks:
            name = getattr(callback, "name", type(callback).__name__)
            if inspect.isclass(callback) or not any(hasattr(callback, x) for x in HOOKS):
                raise RedteamError(
                    f"The callback {callback!r} is no object with a method of "
                    "redteam_env.protocols.Callback; give an object of your class."
                )
            if name in self._named:
                raise RedteamError(
                    f"Two callbacks are called {name!r}; give one of them another attribute name."
                )
            self._named[name] = callback

    def _methods(self, method: str) -> list[Any]:
        found = [getattr(callback, method, None) for callback in self._named.values()]
        return [one for one in found if callable(one)]

    def on_start(self, run: TrainingRun) -> None:
        """Tell all that the run starts."""
        for method in self._methods("on_start"):
            method(run)

    def setups(self, step: int, setups: Sequence[GameSetup]) -> Sequence[GameSetup]:
        """Return a step's games after all have seen them."""
        return reduce(lambda found, method: method(step, found), self._methods("setups"), setups)

    def agent(self, role: str, setups: Sequence[GameSetup]) -> Agent | None:
        """Return the first answer to who plays a role."""
        for method in self._methods("agent"):
            agent: Agent | None = method(role, setups)
            if agent is not None:
                return agent
        return None

    def on_episodes(self, step: int, episodes: Sequence[Episode]) -> Sequence[Episode]:
        """Return a step's games as they are to be learned from."""
        methods = self._methods("on_episodes")
        return reduce(lambda found, method: method(step, found), methods, episodes)

    def on_update(self, step: int, row: Row) -> None:
        """Show all a step after its update."""
        for method in self._methods("on_update"):
            method(step, row)

    def on_checkpoint(self, directory: Path) -> None:
        """Let all write into a checkpoint that is being made."""
        for method in self._methods("on_checkpoint"):
            method(directory)

    def on_progress(self, phase: str, done: int, total: int) -> None:
        """Tell all how far a step is."""
        for method in self._methods("on_progress"):
            method(phase, done, total)

    def on_end(self, outcome: Any) -> None:
        """Let all clean up."""
        for method in self._methods("on_end"):
            method(outcome)

    def state(self) -> dict[str, Any]:
        """Return the state of each that has one, by name."""
        found = {
            name: dict(callback.state())
            for name, callback in self._named.items()
            if callable(getattr(callback, "state", None))
        }
        return {name: state for name, state in found.items() if state}

    def load_state(self, states: Mapping[str, Any], checkpoint: Path) -> None:
        """Give each its state back.

        Raises:
            RedteamError: If there is a state for a callback that the run does not have now.
        """
        for name, state in states.items():
            if name not in self._named and name in OPTIONAL:
                continue
            if name not in self._named:
                raise RedteamError(
                    f"{str(checkpoint)!r} holds the state of a callback {name!r}, which this run does "
                    "not have; give it again to resume."
                )
            self._named[name].load_state(state)

    def usage(self) -> list[dict[str, Any]]:
        """Return what agents and judge behind an API took in this call."""
        meters = [x for x in self._named.values() if isinstance(x, UsageMeter)]
        return [entry for meter in meters for entry in meter.session()]


def named_callbacks(names: str | None, configs: Sequence[Any]) -> list[Any]:
    """Return the plug-in callbacks that a run names.

    Args:
        names: Their names, with a comma between them.
        configs: The settings of those that have some.

    Raises:
        RedteamError: If one is unknown.
    """
    made = []
    for name in callback_names(names):
        factory, kind = load("callbacks", name), callback_settings(name)
        own = [config for config in configs if kind is not None and isinstance(config, kind)]
        made.append(factory() if kind is None else factory(own[0] if own else kind()))
    return made


def callback_names(names: str | None) -> list[str]:
    """Return the names in a list with commas, each once."""
    return list(dict.fromkeys(x.strip() for x in (names or "").split(",") if x.strip()))


def callback_settings(name: str) -> Any:
    """Return the class of a callback's settings, ``None`` if it has none."""
    has_settings = getattr(load("callbacks", name), "Config", None) is not None
    return settings("callbacks", name) if has_settings else None


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
        asked: For each role and for ``judge``, what reports call it, and the agent or judge.
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
        own = {role: getattr(thing, "usage", None) for role, (_, thing) in self._asked.items()}
        parts = current().gather(
            {role: usage.to_json() for role, usage in own.items() if isinstance(usage, Usage)}
        )
        return {
            role: reduce(Usage.plus, [Usage(**part[role]) for part in parts]) for role in parts[0]
        }


class Checkpoints(Callback):
    """Writes a checkpoint every few steps and after the last one."""

    def on_start(self, run: TrainingRun) -> None:
        """Take note of the run."""
        self._run = run

    def on_update(self, step: int, row: Row) -> None:
        """Write a checkpoint if it is time."""
        done = step + 1
        if not self._run.leads:
            return
        if done % self._run.config.run.checkpoint_every == 0 or self._run.ending:
            self._run.save()
