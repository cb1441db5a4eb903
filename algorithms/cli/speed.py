"""The command ``speed``: what things take on this machine, beside what they should take.

It measures and never judges: the budgets are those of one thread of a common server, and a slower
or busier machine is no fault. Each part has a module of its own, which only that part imports.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType

import tyro
from rich.text import Text

from algorithms.speed.rows import Measured, SpeedConfig
from redteam_env.protocols import Progress
from redteam_env.usage import need, read
from redteam_env.utils.console import make_console, print_json, progress_bar
from redteam_env.utils.tables import broken

SCHEMA = 2
_TORCH = {"torch": "train"}
_NEEDED: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {"judges": {}, "game": {"pygame": "speed"}, "trl": {**_TORCH, "trl": "speed"}}
)
"""The packages that parts import, with the extra that installs each; of others torch."""
DESCRIPTION = (
    "Measure training, sampling, judging, playing and solving on this machine, beside their budgets, "
    "part by part. Run it on an idle machine; but for the model of some parts nothing is downloaded "
    "or kept."
)


def speed(argv: Sequence[str]) -> int:
    """Measure training, sampling and playing on this machine, beside their budgets.

    Args:
        argv: The command's arguments.

    Returns:
        0, whatever was measured.

    Raises:
        RedteamError: If a part needs a package that is not installed.
    """
    options = read(
        SpeedConfig,
        argv,
        prog="redteam-env speed",
        description=DESCRIPTION,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    what = "speed" if len(options.parts) > 1 else f"speed --part {options.part}"
    need(what, {x: y for part in options.parts for x, y in _NEEDED.get(part, _TORCH).items()})
    started = time.perf_counter()
    before = os.times()
    rows: list[Measured] = []
    console = make_console()
    for part in options.parts:
        if not options.json:
            threads = f"{options.threads} thread{'s' * (options.threads > 1)}"
            console.print(f"{part}: measured with {threads}", style="bold")
        for row in _measured(part, options):
            rows.append(row)
            if not options.json:
                console.print(broken(row_text(row), console.width))
        if not options.json:
            console.print(_notes(part, options))
    cores = _busy(before, os.times()) / (time.perf_counter() - started)
    if options.json:
        record = {
            "schema": SCHEMA,
            "options": asdict(options),
            "cores": cores,
            "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
            "rows": [asdict(x) for x in rows],
        }
        print_json(record)
        return 0
    console.print(
        f"Cores this command had: {cores:.2f} with {options.threads} thread(s). Less than one core a "
        "thread means that something else ran."
    )
    return 0


def _measured(part: str, options: SpeedConfig) -> Iterator[Measured]:
    """Yield each row of a part as soon as it is measured, with the progress bar gone."""
    shown: list[Progress] = []

    def report(phase: str, done: int, total: int) -> None:
        shown[-1](phase, done, total)

    rows = iter(_measure(part, options, report))
    while True:
        with progress_bar(visible=not options.json) as progress:
            shown.append(progress)
            row = next(rows, None)
        if row is None:
            return
        yield row


def _measure(part: str, options: SpeedConfig, progress: Progress) -> Iterable[Measured]:
    # the modules import torch; listing the commands must not
    if part == "world":
        from algorithms.speed.measures import measure
    elif part == "judges":
        from algorithms.speed.judging import measure
    elif part == "generation":
        from algorithms.speed.generation import measure
    elif part == "game":
        from algorithms.speed.games import measure
    elif part == "growth":
        from algorithms.speed.growth import measure
    elif part == "leagues":
        from algorithms.speed.leagues import measure
    elif part == "trl":
        from algorithms.speed.comparison import beside_trl as measure
    else:
        from algorithms.speed.comparison import arrangements as measure
    yield from measure(options, progress)


def _busy(before: os.times_result, after: os.times_result) -> float:
    """Return the processor time between two moments, of this process and of ended children."""
    return sum(after[:4]) - sum(before[:4])


def _notes(part: str, options: SpeedConfig) -> str:
    sides = "Both sides run in turns, each in a process of its own; the median counts" + (
        ", in processor seconds." if options.threads == 1 else "."
    )
    return {
        "world": f"Training: {options.games} games a step, half of them rewritten, bipolicy and shared "
        f"LoRA of rank 16, median of {options.steps} steps. 120 steps: with loading the model, "
        f"checkpoint and {options.evaluation_games} held-out games. Other work on this machine shows "
        "in the last row: less than one core for each thread.",
        "judges": "Processor time of prompts and answers with a model that answers at once, recorded; "
        "a chat server on this machine that takes a fixed time for each answer.",
        "trl": f"{options.model}, float32, LoRA of rank {options.rank} on all linear layers, "
        f"{options.completions} completions of {options.length} tokens on 4 prompts, one optimiser "
        "step, KL to the base 0.01; TRL's samples in one pass (with the long instruction in four), ours "
        "in passes of at most 2,048 tokens, the default. TRL's GRPOTrainer with its defaults else, "
        f"without gradient checkpointing (its default is with). {sides}",
        "generation": f"{options.sampled} new tokens a row at temperature 1, float32; adapter: LoRA of "
        f"rank {options.rank} on both sides, PEFT's on generate's; base: without. Less than 4 rows "
        "are 4 batches, one after the other. Both sides in turns in one process, in processor seconds.",
        "arrangements": f"{options.model}, {options.few_games} rewritten games a step, "
        f"{options.sampled} tokens a completion, REINFORCE++. {sides}",
        "game": f"The loop is that of PettingZoo's performance_benchmark. {sides}",
        "growth": "The embedded model, bipolicy; each size in a process of its own, its second step.",
        "leagues": f"{options.model}, {options.few_games} rewritten games a step; the league then plays a "
        f"game between each of {options.versions} past versions of both seats. Bench beside "
        f"training: the embedded model; each run in a process whose start counts. {sides}",
    }[part]


def row_text(row: Measured) -> Text:
    """Return a row as a line: what was measured, and in brackets its budget."""
    line = Text(f"{row.what}: ").append(f"{_number(row.value)} {row.unit}".strip(), style="bold")
    if row.budget is not None:
        bound = "at least" if row.more else "at most"
        line.append(f" ({bound} {f'{_number(row.budget)} {row.unit}'.strip()})")
    return line


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
