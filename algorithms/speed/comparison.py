"""A training step beside TRL's, and arrangements beside each other: parts ``trl`` and ``arrangements``."""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from typing import Any

from algorithms.speed.arrangements import step_of_arrangement
from algorithms.speed.limits import distinct_tokens, machine_rates, step_operations
from algorithms.speed.rows import Measured, SpeedConfig
from algorithms.speed.training import instruction, prompts, step_of_ours, step_of_trl
from algorithms.speed.worker import Lap, side, take_turns
from redteam_env.game import RedteamError
from redteam_env.protocols import Progress

PROMPTS = 4
_LONG_PASSES = 4
"""Passes of a step of TRL's with the long instruction: in one it would hold 17 GB."""

SHORT = "You are a helpful assistant. Answer shortly."


def seconds(laps: Sequence[Lap], threads: int) -> float:
    """Return the median time of laps.

    With one thread it is the processor's time: unlike the clock's, it hardly changes when something
    else runs on the machine.
    """
    return statistics.median(x.cpu_seconds if threads == 1 else x.seconds for x in laps)


def peak(laps: Sequence[Lap]) -> float:
    """Return the peak memory of a side, GB."""
    return max(lap.peak_gb for lap in laps)


def ratio(what: str, ours: float, other: float, budget: float | None, part: str) -> Measured:
    """Return a row that divides ours by another's; less is better."""
    return Measured(what=what, value=ours / other, budget=budget, part=part)


def beside_trl(options: SpeedConfig, progress: Progress) -> Iterable[Measured]:
    """Measure a training step of ours and of TRL's, with a short and a long shared instruction.

    TRL runs as its defaults are, but in float32, with all samples in one pass, and without
    gradient checkpointing, which makes it quicker; with the short instruction also with it.

    Args:
        options: The sizes.
        progress: Called as ``progress(phase, done, total)``.

    Raises:
        RedteamError: If TRL is not installed.
    """
    if find_spec("trl") is None:
        raise RedteamError(
            "TRL is not installed, so there is nothing to compare with; pip install "
            "'redteam-env[speed]'."
        )
    for number, (name, lead) in enumerate((("short", 0), ("long", options.lead))):
        done = number * (options.repeats + 1)
        found = _trl_laps(options, lead, progress, done)
        yield from _trl_rows(options, name, lead, found)


def _trl_laps(
    options: SpeedConfig, lead: int, progress: Progress, done: int
) -> dict[str, list[Lap]]:
    name, total = "long" if lead else "short", 2 * (options.repeats + 1)
    spec: dict[str, Any] = {
        "threads": options.threads,
        "model": options.model,
        "rank": options.rank,
        "length": options.length,
        "rows": options.completions,
        "prompts": prompts(PROMPTS, instruction(lead) if lead else SHORT),
    }
    laps: dict[str, list[Lap]] = {"ours": [], "trl": [], "checkpointing": []}
    with ExitStack() as stack:
        ours = stack.enter_context(side("this library", step_of_ours, spec))
        progress(f"{name} instruction: ours", done, total)
        first = ours.lap()
        spec |= {key: first.facts[key] for key in ("directory", "prompt_ids")}
        passes = _LONG_PASSES if lead else 1
        ways = {"trl": False} | ({} if lead else {"checkpointing": True})
        others = {
            way: stack.enter_context(
                side("TRL", step_of_trl, {**spec, "checkpointing": checkpointing, "passes": passes})
            )
            for way, checkpointing in ways.items()
        }
        for lap in range(options.repeats + 1):
            progress(f"{name} instruction", done + lap, total)
            for way, other in others.items():
                if way == "trl" or lap < 2:  # one lap that counts is enough of what is not compared
                    laps[way].append(other.lap())
            if lap:
                laps["ours"].append(ours.lap())
    counted = {way: found[1:] if way != "ours" else found for way, found in laps.items()}
    for way, found in counted.items():
        for one in found:
            if one.facts["completion_tokens"] != options.completions * options.length:
                raise RedteamError(
                    f"{way} sampled {one.facts['completion_tokens']} tokens in place of "
                    f"{options.completions * options.length}; the sides cannot be compared."
                )
    return counted


def _trl_rows(
    options: SpeedConfig, name: str, lead: int, found: Mapping[str, Sequence[Lap]]
) -> Iterator[Measured]:
    part = "trl"
    time = {way: seconds(laps, options.threads) for way, laps in found.items() if laps}
    most = {way: peak(laps) for way, laps in found.items() if laps}
    ids = found["ours"][0].facts["prompt_ids"]
    label = f"{name} instruction"
    rows = [
        Measured(
            what=f"{label}: longest prompt", value=max(map(len, ids)), unit="tokens", part=part
        ),
        Measured(what=f"{label}: our step", value=time["ours"], unit="s", part=part),
        Measured(what=f"{label}: TRL's step", value=time["trl"], unit="s", part=part),
        Measured(what=f"{label}: our peak", value=most["ours"], unit="GB", part=part),
        Measured(what=f"{label}: TRL's peak", value=most["trl"], unit="GB", part=part),
        ratio(f"{label}: time, ours / TRL", time["ours"], time["trl"], 0.3 if lead else 0.5, part),
        ratio(
            f"{label}: peak memory, ours / TRL",
            most["ours"],
            most["trl"],
            None if lead else 0.5,
            part,
        ),
    ]
    if "checkpointing" in time:
        rows += [
            ratio(
                f"{label}: time, ours / TRL with checkpointing",
                time["ours"],
                time["checkpointing"],
                None,
                part,
            ),
            ratio(
                f"{label}: peak memory, ours / TRL with checkpointing",
                most["ours"],
                most["checkpointing"],
                None,
                part,
            ),
        ]
    yield from rows
    with side("the machine's rates", machine_rates, {"threads": options.threads}) as machine:
        rates = machine.lap().facts
    work = step_operations(
        found["ours"][0].facts["weights"],
        prompt=distinct_tokens(ids),
        completion=options.completions * options.length,
    )
    reached = work / rates["flops"] / time["ours"]
    what = f"{label}: share of the least time of our step"
    yield Measured(
        what="products of float32 matrices",
        value=rates["flops"] / 1e9,
        unit="GFLOP/s",
        more=True,
        part=part,
    )
    yield Measured(what=what, value=reached, more=True, part=part)


def arrangements(options: SpeedConfig, progress: Progress) -> Iterable[Measured]:
    """Measure bipolicy beside shared LoRA, and its memory beside that of independent models.

    Args:
        options: The sizes.
        progress: Called as ``progress(phase, done, total)``.

    Yields:
        What was measured, as soon as it is.
    """
    spec = {
        "threads": options.threads,
        "model": options.model,
        "rank": options.rank,
        "length": options.sampled,
        "games": options.few_games,
    }
    part, done = "arrangements", 0
    total = 2 * (options.repeats + 1) + 2

    def report(name: str) -> None:
        nonlocal done
        progress(name, done, total)
        done += 1

    both = ("bipolicy", "shared")
    sides = {name: (step_of_arrangement, {**spec, "arrangement": name}) for name in both}
    time: dict[str, float] = {}
    most: dict[str, float] = {}
    for name, laps in take_turns(sides, warm=1, laps=options.repeats, report=report):
        time[name], most[name] = seconds(laps, options.threads), peak(laps)
        yield Measured(what=f"{name}: step", value=time[name], unit="s", part=part)
        yield Measured(what=f"{name}: peak", value=most[name], unit="GB", part=part)
    yield ratio("time, bipolicy / shared", time["bipolicy"], time["shared"], 1.1, part)
    yield ratio("peak memory, bipolicy / shared", most["bipolicy"], most["shared"], 1.1, part)
    alone = {"independent": (step_of_arrangement, {**spec, "arrangement": "independent"})}
    # the second step is the first that finds the optimisers' moments
    [(name, laps)] = take_turns(alone, warm=1, laps=1, report=report)
    yield Measured(what=f"{name}: peak", value=peak(laps), unit="GB", part=part)
    what = f"peak memory, bipolicy / {name}"
    yield ratio(what, most["bipolicy"], peak(laps), 0.45, part)
