"""PettingZoo's own tests, quietly and by face."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Any

from pettingzoo.test import (  # type: ignore[import-untyped]  # no py.typed there
    api_test,
    parallel_api_test,
    parallel_seed_test,
    render_test,
    seed_test,
    state_test,
)

from redteam_env.testing.invariants import need

Factory = Callable[[], Any]

# true of every environment whose observations are texts, and harmless
_KNOWN_WARNINGS = (
    "Observation is not a NumPy array",
    "Observation space for each agent probably should be",
    "Action space for each agent probably should be",
    "Agents have different observation space sizes",
    "State space for each environment probably should be",
    "State is not NumPy array",
)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what PettingZoo's tests print, and the warnings that any text space provokes, away."""
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        for message in _KNOWN_WARNINGS:
            warnings.filterwarnings("ignore", message=message, category=UserWarning)
        yield


def aec_suite(factory: Factory, cycles: int) -> dict[str, Callable[[], None]]:
    """Return PettingZoo's tests of an AEC environment by name."""
    return {
        "api_test": lambda: api_test(factory(), num_cycles=cycles),
        "seed_test": lambda: seed_test(factory, num_cycles=cycles),
        "render_test": lambda: render_test(_with_mode(factory)),
    }


def parallel_suite(factory: Factory, cycles: int) -> dict[str, Callable[[], None]]:
    """Return PettingZoo's tests of a parallel environment by name."""
    return {
        "parallel_api_test": lambda: parallel_api_test(factory(), num_cycles=cycles),
        "parallel_seed_test": lambda: parallel_seed_test(factory, num_cycles=cycles),
        "parallel rendering": lambda: _render_parallel(_with_mode(factory)),
    }


def both_faces_suite(factory: Factory, parallel_factory: Factory) -> dict[str, Callable[[], None]]:
    """Return PettingZoo's test that needs both faces, by name."""
    return {"state_test": lambda: state_test(factory(), parallel_factory())}


def _with_mode(factory: Factory) -> Callable[..., Any]:
    """Return a factory that takes a render mode, as ``render_test`` wants it."""

    def make(render_mode: str) -> Any:
        env = factory()
        env.unwrapped.render_mode = render_mode
        return env

    return make


def _render_parallel(make: Callable[..., Any]) -> None:
    for mode, kind in (("ansi", str), ("human", type(None))):
        env = make(render_mode=mode)
        env.reset(seed=0)
        while env.agents:
            shown = env.render()
            need(isinstance(shown, kind), f"render mode {mode} returned {type(shown).__name__}")
            env.step(dict.fromkeys(env.agents, "text"))
        need(isinstance(env.render(), kind), f"render mode {mode} fails after the game")
