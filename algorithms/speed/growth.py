"""How time and memory grow with games, exchanges and adapters: ``speed --part growth``."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from algorithms.speed.arrangements import Trainer
from algorithms.speed.comparison import seconds
from algorithms.speed.generation import EMBEDDED
from algorithms.speed.rows import Measured, SpeedConfig
from algorithms.speed.worker import Lap, Turns, side
from redteam_env.game import Game
from redteam_env.protocols import Progress

PART = "growth"
EXPONENT = 1.05
FLAT = 1.1
_LEAST = {"games": 16, "exchanges": 1, "adapters": 2}
_FACTOR = {"games": 4, "exchanges": 2, "adapters": 4}
_GAMES = 16
_LENGTH = 16
_RANK = 64
"""Rank of the adapters that are counted: large beside the Python objects around them."""
_MICRO_BATCH = 64
"""Games of a step that fill a micro-batch on both seats."""


def step_of_growth(spec: Mapping[str, Any], turns: Turns) -> None:
    """Take training steps of so many games and exchanges, with so many adapters in the store."""
    trainer = Trainer(spec, Game(exchanges=spec["exchanges"]))
    store = trainer.policy.store
    for k in range(2, spec["adapters"]):
        store.spare(f"past_{k}", like="attacker")
    size = sum(x.numel() * x.element_size() for x in trainer.policy.parameters("attacker"))
    while turns.begin():
        trainer.step(spec["games"])
        turns.end(adapter_gb=size / 1e9)


def measure(options: SpeedConfig, progress: Progress) -> Iterable[Measured]:
    """Measure steps of the embedded model while one of games, exchanges and adapters grows.

    Every size has a process of its own.

    Args:
        options: The sizes.
        progress: Called as ``progress(phase, done, total)``.
    """
    ladders = {
        name: ladder(least, max(least + 1, getattr(options, f"most_{name}")), _FACTOR[name])
        for name, least in _LEAST.items()
    }
    done, total = 0, sum(map(len, ladders.values()))
    for name, sizes in ladders.items():
        laps: dict[int, Lap] = {}
        for size in sizes:
            progress(f"{size} {name}", done, total)
            done += 1
            rank = _RANK if name == "adapters" else options.rank
            spec = {**_LEAST, "games": _GAMES, name: size, "rank": rank}
            laps[size] = _last_lap(name, spec, options)
            if size in {sizes[0], sizes[-1]}:
                value = seconds([laps[size]], options.threads)
                what = f"step with {size} {name}"
                yield Measured(what=what, value=value, unit="s", part=PART)
        yield from _rows(name, laps, options.threads)


def _last_lap(name: str, spec: Mapping[str, Any], options: SpeedConfig) -> Lap:
    fixed = {"arrangement": "bipolicy", "model": EMBEDDED, "length": _LENGTH}
    own = {**fixed, **spec, "threads": options.threads}
    with side(f"growth of {name}", step_of_growth, own) as one:
        one.lap()
        return one.lap()


def _rows(name: str, laps: Mapping[int, Lap], threads: int) -> list[Measured]:
    sizes = list(laps)
    times = {size: seconds([lap], threads) for size, lap in laps.items()}
    label = f"exponent of time, {name} {sizes[0]} to {sizes[-1]}"
    fitted = exponent(sizes, [times[size] for size in sizes])
    growth = Measured(what=label, value=fitted, budget=EXPONENT, part=PART)
    first, last = laps[sizes[0]], laps[sizes[-1]]
    if name == "adapters":
        added = (sizes[-1] - sizes[0]) * last.facts["adapter_gb"]
        value = (last.peak_gb - first.peak_gb) / added
        what = "peak memory added / size of the adapters added"
        return [growth, Measured(what=what, value=value, budget=FLAT, part=PART)]
    if name == "games":
        start = min((size for size in sizes if size >= _MICRO_BATCH), default=sizes[-1])
        what = f"peak memory, {sizes[-1]} games / {start} games"
        value = last.peak_gb / laps[start].peak_gb
        return [growth, Measured(what=what, value=value, budget=FLAT, part=PART)]
    what = f"peak memory, {sizes[-1]} exchanges / {sizes[0]}"
    return [growth, Measured(what=what, value=last.peak_gb / first.peak_gb, part=PART)]


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Fit ``value = c * size ** exponent`` by least squares on logarithms.

    Args:
        sizes: At least two different ones, above 0.
        values: One for each, above 0.

    Returns:
        The exponent: 1 for growth in proportion.
    """
    slope, _ = np.polyfit(np.log(sizes), np.log(values), 1)
    return float(slope)


def ladder(least: int, most: int, factor: int) -> list[int]:
    """Return sizes from the least to the most, each ``factor`` times the one before."""
    powers = (least * factor**k for k in itertools.count())
    below = list(itertools.takewhile(lambda size: size < most, powers))
    return [*below, most]
