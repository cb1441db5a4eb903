"""Callbacks of a run: how they are called one after the other, and the plain ones every run has."""

import inspect
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

from algorithms.core.divergence import check_update
from algorithms.core.ranks import current
from redteam_env.game import Episode, RedteamError, unknown_name
from redteam_env.protocols import Agent, Callback, GameSetup, Row, TrainingRun, Usage
from redteam_env.registry import load, settings
from redteam_env.utils.lists import listed

OPTIONAL = ("best_checkpoint", "stop_on_metric")
"""The run's own callbacks that a resumed run may do without."""
HOOKS = tuple(name for name in vars(Callback) if not name.startswith("_"))


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
        self._started: list[Any] = []
        self._stateful: dict[str, Any] = {}
        for callback in self._all:
            _check_callback(callback)
            if not _has_state(callback):
                continue
            name = _name(callback)
            if name in self._stateful:
                raise RedteamError(
                    f"Two callbacks with a state are called {name!r}; give one of them an attribute "
                    "name of its own."
                )
            self._stateful[name] = callback

    def _having(self, method: str) -> list[tuple[Any, Any]]:
        found = [(x, getattr(x, method, None)) for x in self._all]
        return [(x, call) for x, call in found if callable(call)]

    def on_start(self, run: TrainingRun) -> None:
        """Tell all that the run starts."""
        for callback in self._all:
            self._started.append(callback)
            if callable(start := getattr(callback, "on_start", None)):
                start(run)

    def setups(self, step: int, setups: Sequence[GameSetup]) -> Sequence[GameSetup]:
        """Return a step's games after all have seen them."""
        for callback, call in self._having("setups"):
            setups = _returned(callback, "setups", call(step, setups))
            if not setups:
                raise RedteamError(f"The callback {_name(callback)!r} left no games to play.")
        return setups

    def agent(self, role: str, setups: Sequence[GameSetup]) -> Agent | None:
        """Return the first answer to who plays a role."""
        for _, call in self._having("agent"):
            agent: Agent | None = call(role, setups)
            if agent is not None:
                return agent
        return None

    def on_episodes(self, step: int, episodes: Sequence[Episode]) -> Sequence[Episode]:
        """Return a step's games as they are to be learned from."""
        for callback, call in self._having("on_episodes"):
            episodes = _returned(callback, "on_episodes", call(step, episodes))
        return episodes

    def on_update(self, step: int, row: Row) -> None:
        """Show all a step after its update."""
        for _, call in self._having("on_update"):
            call(step, row)

    def on_checkpoint(self, directory: Path) -> None:
        """Let all write into a checkpoint that is being made."""
        for _, call in self._having("on_checkpoint"):
            call(directory)

    def on_progress(self, phase: str, done: int, total: int) -> None:
        """Tell all how far a step is."""
        for _, call in self._having("on_progress"):
            call(phase, done, total)

    def on_end(self, outcome: Any) -> None:
        """Let all that were started clean up, whatever the others do.

        Raises:
            Exception: The first that one of them raised, unless the run ended with an error of its own.
        """
        first: Exception | None = None
        for callback in self._started:
            try:
                if callable(end := getattr(callback, "on_end", None)):
                    end(outcome)
            except Exception as error:  # noqa: BLE001 - the others clean up all the same
                first = first or error
        if first is not None and outcome is not None:
            raise first

    def state(self) -> dict[str, Any]:
        """Return the state of each that has one, by name."""
        found = {
            name: dict(_returned(callback, "state", callback.state()))
            for name, callback in self._stateful.items()
        }
        return {name: state for name, state in found.items() if state}

    def load_state(self, states: Mapping[str, Any], checkpoint: Path) -> None:
        """Give each its state back.

        Raises:
            RedteamError: If there is a state for a callback that the run does not have now.
        """
        for name, state in states.items():
            if name in self._stateful:
                self._stateful[name].load_state(state)
            elif name not in OPTIONAL:
                raise RedteamError(
                    f"{str(checkpoint)!r} holds the state of a callback {name!r}, which this run does "
                    "not have; give it again to resume."
                )

    def usage(self) -> list[dict[str, Any]]:
        """Return what agents and judge behind an API took in this call."""
        meters = [x for x in self._all if isinstance(x, UsageMeter)]
        return [entry for meter in meters for entry in meter.session()]


def _name(callback: Any) -> str:
    return str(getattr(callback, "name", type(callback).__name__))


def _has_state(callback: Any) -> bool:
    return getattr(type(callback), "state", Callback.state) is not Callback.state


def _check_callback(callback: Any) -> None:
    if inspect.isclass(callback) or not any(hasattr(callback, name) for name in HOOKS):
        raise RedteamError(
            f"{callback!r} is no callback: give an object of your class, with at least one method of "
            "redteam_env.protocols.Callback."
        )
    for name in dir(type(callback)):
        if name.startswith("on_") and name not in HOOKS:
            raise unknown_name(f"method of the callback {_name(callback)!r}", name, HOOKS)
    if _has_state(callback) and not callable(getattr(callback, "load_state", None)):
        raise RedteamError(f"The callback {_name(callback)!r} has a state() but no load_state().")


def _returned(callback: Any, method: str, value: Any) -> Any:
    if value is None:
        raise RedteamError(
            f"{method}() of the callback {_name(callback)!r} returned nothing; return what it was given, "
            "changed or not (a state: a mapping)."
        )
    return value


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
        try:
            inspect.signature(factory).bind(*given)
        except TypeError as error:
            called = "factory()" if kind is None else "factory(config)"
            raise RedteamError(
                f"The callback {name!r} cannot be made as {called}: {error}."
            ) from error
        made.append(factory(*given))
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
        own = {role: getattr(thing, "usage", None) for role, (_, thing) in self._asked.items()}
        parts = current().gather(
            {role: usage.to_json() for role, usage in own.items() if isinstance(usage, Usage)}
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
