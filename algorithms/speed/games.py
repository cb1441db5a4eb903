"""The game without a model, and PettingZoo's rock-paper-scissors: ``speed --part game``."""

import random
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np

from algorithms.speed.rows import Measured, SpeedConfig
from algorithms.speed.worker import Turns, take_turns
from redteam_env import redteam_v0
from redteam_env.game import ATTACKER, DEFENDER, RedteamError
from redteam_env.judges.resolve import resolve_judge
from redteam_env.protocols import Progress
from redteam_env.registry import load
from redteam_env.rollout import play, schedule
from redteam_env.seeds.resolve import resolve_seeds

PART = "game"
_GAMES = 2000
_SECONDS = 1.0
_ROWS = {
    "batched play": ("batched play, scripted agents, lexical judge", "games/s", 5000.0),
    "our AEC face": ("AEC face", "steps/s", None),
    "rps": ("PettingZoo's rps", "steps/s", None),
}
"""What the rate of each side is called, its unit and its budget."""


def batched(spec: Mapping[str, Any], turns: Turns) -> None:  # noqa: ARG001 - every side has a spec
    """Play many games at once between scripted agents, judged by the lexical judge."""
    seeds, judge = resolve_seeds("builtin"), resolve_judge("lexical")
    agents = {
        ATTACKER: load("agents", "template")("attacker"),
        DEFENDER: load("agents", "refuse")("defender"),
    }
    while turns.begin():
        setups = schedule(seeds, _GAMES, path=("speed",), rewrite_fraction=1.0)
        play(setups, agents, judge)
        turns.end(games=_GAMES)


def aec_steps(spec: Mapping[str, Any], turns: Turns) -> None:
    """Step an AEC environment with random actions, as PettingZoo's ``performance_benchmark`` does."""
    if spec["env"] == "rps":
        from pettingzoo.classic import rps_v2  # type: ignore[import-untyped]  # noqa: PLC0415

        env = rps_v2.env()
    else:
        env = redteam_v0.env()
    while turns.begin():
        turns.end(steps=count_steps(env, _SECONDS))


def count_steps(env: Any, seconds: float) -> int:
    """Count the steps that an environment takes in some processor time.

    The loop is that of ``pettingzoo.test.performance_benchmark``.

    Args:
        env: An AEC environment.
        seconds: Processor time.
    """
    steps = 0
    env.reset(seed=0)
    started = time.process_time()
    while time.process_time() - started < seconds:
        for agent in env.agent_iter(env.num_agents):
            seen, _, terminated, truncated, _ = env.last()
            if terminated or truncated:
                action = None
            elif isinstance(seen, dict) and "action_mask" in seen:
                action = random.choice(np.flatnonzero(seen["action_mask"]).tolist())  # noqa: S311 - the loop's own  # nosec B311 # plays a game
            else:
                action = env.action_space(agent).sample()
            env.step(action)
            steps += 1
            if all(env.terminations.values()) or all(env.truncations.values()):
                env.reset()
    return steps


def measure(options: SpeedConfig, progress: Progress) -> Iterable[Measured]:
    """Measure batched play and the AEC face.

    Args:
        options: The sizes.
        progress: Called as ``progress(phase, done, total)``.

    Yields:
        What was measured, as soon as it is.

    Raises:
        RedteamError: If PettingZoo's game cannot be played for want of pygame.
    """
    if find_spec("pygame") is None:
        raise RedteamError(
            "PettingZoo's rock-paper-scissors needs pygame: pip install 'redteam-env[speed]'"
        )
    done, total = 0, 3 * (options.repeats + 1)

    def report(name: str) -> None:
        nonlocal done
        progress(name, done, total)
        done += 1

    spec = {"threads": options.threads}
    sides: dict[str, tuple[Callable[..., None], Mapping[str, Any]]] = {
        "batched play": (batched, spec),
        "our AEC face": (aec_steps, {**spec, "env": "redteam"}),
        "rps": (aec_steps, {**spec, "env": "rps"}),
    }
    rate: dict[str, float] = {}
    for name, laps in take_turns(sides, warm=1, laps=options.repeats, report=report):
        each = [next(iter(lap.facts.values())) / lap.cpu_seconds for lap in laps]
        rate[name] = float(np.median(each))
        what, unit, budget = _ROWS[name]
        yield Measured(what=what, value=rate[name], unit=unit, budget=budget, more=True, part=PART)
    share = rate["our AEC face"] / rate["rps"]
    yield Measured(what="AEC steps, ours / rps", value=share, budget=0.5, more=True, part=PART)
