"""The command ``quickstart``: self-play in the controlled world, and what it did to both sides.

It trains two arrangements of LoRA weights on the model that comes with the package, side by side and
watched (:mod:`algorithms.studies.quickstart.live`), then plays all attackers against all defenders
(:mod:`algorithms.studies.quickstart.result`) and says whether there was a race
(:mod:`algorithms.studies.quickstart.race`). It can be stopped at any time and goes on where it was.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from algorithms.studies.executors import Processes
from algorithms.studies.pool import run_tasks
from algorithms.studies.quickstart.live import Watch
from algorithms.studies.quickstart.page import report, write_curves
from algorithms.studies.quickstart.race import curves_of, examples, measures, race_of
from algorithms.studies.quickstart.result import ARRANGEMENTS, RATES, READING, measure
from algorithms.studies.study import INTERRUPTED as ENDED_BY_CTRL_C
from algorithms.studies.tasks import DONE, INTERRUPTED, RECORDS, TRAIN, Task
from algorithms.training.config import TrainConfig
from algorithms.training.rundir import open_run
from redteam_env.game import Count, RedteamError, at_least, check_fields
from redteam_env.page import check_free, make_page
from redteam_env.runs import Run
from redteam_env.usage import need, read
from redteam_env.utils.console import make_console, print_json, progress_bar
from redteam_env.utils.files import write_text
from redteam_env.utils.locks import held
from redteam_env.utils.packages import versions
from redteam_env.worlds import world_options
from redteam_env.worlds.apothecary import ApothecaryJudge, seeds
from redteam_env.worlds.apothecary.levels import versioned

WORLD = "apothecary"
TRAINING = ("steps", "games", "seed")
"""Options of ``quickstart`` that are the runs' own."""

OUT = "runs/quickstart"
RESULT = "result.json"
CURVES = "curves.svg"
PAGE = "report.html"
SCHEMA = 2
_WORLD = world_options(WORLD)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickstartConfig:
    """Options of ``quickstart``.

    Attributes:
        steps: Training steps of each arrangement.
        games: Games a step.
        evaluation_games: Held-out games of each pairing, half from harmful seeds; and half as many
            quiz questions.
        seed: Seed of everything random; in both runs of the shipped one a race is seen.
        out: Directory of the two runs, result.json, curves.svg and report.html; by default the first of
            runs/quickstart, runs/quickstart-2 and so on that is free. A quickstart that was interrupted
            there goes on.
        json: Print the result as JSON instead of curves and tables.
    """

    steps: Count = _WORLD["steps"]
    games: Count = _WORLD["games"]
    evaluation_games: Annotated[int, at_least(2)] = 256
    seed: int = 1
    out: str | None = None
    json: bool = False

    def __post_init__(self) -> None:
        check_fields(self)


def quickstart(argv: Sequence[str]) -> int:
    """Watch attackers and defenders learn in a small controlled world, no download.

    Args:
        argv: The command's arguments.

    Returns:
        0 if all was done, 130 after Ctrl-C.

    Raises:
        RedteamError: If a value is wrong or the directory cannot be used.
    """
    options = parse_quickstart(argv)
    need("quickstart", {"torch": "train"})
    out = Path(options.out or free_directory(OUT))
    configs = {name: run_config(name, options, out) for name in ARRANGEMENTS}
    with held(out):
        return _quickstart(options, out, configs)


def _quickstart(options: QuickstartConfig, out: Path, configs: Mapping[str, TrainConfig]) -> int:
    _open(out, configs)
    notes = make_console(stderr=True)
    try:
        result = _work(options, out, configs, notes)
    except KeyboardInterrupt:
        result = None
    if result is None:
        words = ["redteam-env", "quickstart", "--out", str(out)]
        if options.evaluation_games != QuickstartConfig().evaluation_games:  # no run holds it
            words += ["--evaluation-games", str(options.evaluation_games)]
        command = shlex.join(words)
        notes.print(f"Stopped by Ctrl-C. This goes on from here: {command}", soft_wrap=True)
        return ENDED_BY_CTRL_C
    write_text(out / RESULT, json.dumps(result, indent=1, allow_nan=False) + "\n")
    write_curves(result, out / CURVES)
    make_page([out], out / PAGE)
    if options.json:
        print_json(result)
    else:
        console = make_console()
        console.print(report(result, console))
    return 0


def parse_quickstart(argv: Sequence[str]) -> QuickstartConfig:
    """Read the options of ``quickstart``.

    With ``--out`` of a quickstart that was begun, its own training options take the place of the
    defaults.

    Args:
        argv: The command's arguments.

    Returns:
        The options.

    Raises:
        RedteamError: If a value is wrong.
        SystemExit: After ``--help`` (0) or an option that does not exist (2).
    """
    options = _parse(argv, QuickstartConfig())
    for name in ARRANGEMENTS if options.out else ():
        stored = Run(Path(str(options.out)) / name).stored_config()
        if stored is not None:
            begun = {name: stored[name] for name in TRAINING if name in stored}
            return _parse(argv, replace(QuickstartConfig(), **begun))
    return options


def _parse(argv: Sequence[str], default: QuickstartConfig) -> QuickstartConfig:
    return read(
        QuickstartConfig,
        argv,
        default=default,
        prog="redteam-env quickstart",
        description="Train two arrangements of LoRA weights side by side in the controlled world "
        "apothecary, show what attackers discover and how defenders answer, and play all attackers "
        "against all defenders. Nothing is downloaded.",
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def run_config(arrangement: str, options: QuickstartConfig, out: Path) -> TrainConfig:
    """Return the configuration of one of the two runs.

    Args:
        arrangement: Which.
        options: The command's options.
        out: The quickstart's directory.

    Returns:
        The world's settings with the options.
    """
    return TrainConfig.from_flat(
        {
            "world": WORLD,
            "arrangement": arrangement,
            **{name: getattr(options, name) for name in TRAINING},
            "out": str(out / arrangement),
            "resume": True,
            "json": True,
        }
    )


def free_directory(name: str) -> str:
    """Return a path where there is nothing yet: the name, or the name with the next free number."""
    number = 1
    path = name
    while Path(path).exists():
        number += 1
        path = f"{name}-{number}"
    return path


def _open(out: Path, configs: Mapping[str, TrainConfig]) -> None:
    """Refuse a directory that cannot be used before the long work; make it.

    Raises:
        RedteamError: If it is a file, holds anything else, or a quickstart with other options.
    """
    try:
        there = {x.name for x in out.iterdir()} if out.exists() else set()
        known = {*configs, RECORDS, RESULT, CURVES, PAGE}
        if strange := sorted(x for x in there - known if not x.startswith(".")):
            raise RedteamError(
                f"{str(out)!r} holds {strange[0]!r}, which is no part of a quickstart; give another "
                "directory as --out."
            )
        check_free(out / PAGE)
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RedteamError(f"--out {str(out)!r} cannot be used: {error}.") from error
    for config in configs.values():
        run = open_run(config)
        stored = run.stored_config()
        if stored is not None and stored.get("steps") != config.run.steps:
            raise RedteamError(
                f"{str(run.path)!r} was started with {stored.get('steps')} steps, not "
                f"{config.run.steps}; leave --steps out to go on, or give another --out."
            )


def _work(
    options: QuickstartConfig, out: Path, configs: Mapping[str, TrainConfig], notes: Console
) -> dict[str, Any] | None:
    """Train and measure; ``None`` if Ctrl-C ended a run early."""
    if not options.json:
        both = " and ".join(configs)
        notes.print(f"1/2 Training {both} side by side: {options.steps} steps of {options.games}.")
    if not _train(options, out, configs, notes):
        return None
    if not options.json:
        notes.print("2/2 Playing all attackers against all defenders, held out.")
    with progress_bar(visible=not options.json) as progress:
        found = measure(
            {name: str(out / name) for name in configs},
            configs[ARRANGEMENTS[0]],
            games=options.evaluation_games,
            progress=progress,
        )
    return {
        "schema": SCHEMA,
        "command": "quickstart",
        "version": versions(["redteam-env"])["redteam-env"],
        "settings": {k: v for k, v in asdict(options).items() if k not in {"out", "json"}},
        "world": WORLD,
        "world_version": versioned(WORLD),
        "runs": {name: str(out / name) for name in configs},
        "result": str(out / RESULT),
        "svg": str(out / CURVES),
        "report": str(out / PAGE),
        "judge": ApothecaryJudge.name,
        "seeds": asdict(seeds().card),
        "rates": dict(RATES),
        "races": {name: _race(out / name) for name in configs},
        **found,
        "reading": READING,
    }


def _train(
    options: QuickstartConfig, out: Path, configs: Mapping[str, TrainConfig], notes: Console
) -> bool:
    """Train all runs side by side; false after Ctrl-C."""
    tasks = [Task(kind=TRAIN, arm=name, seed=options.seed) for name in configs]
    quiet = {"starting", *(task.title for task in tasks)}  # the curves say that

    def note(what: str, *_: int) -> None:
        if not options.json and what not in quiet:
            notes.print(f"{what[:1].upper()}{what[1:]}.")

    runs = {name: out / name for name in configs}
    with Watch(runs, options.steps, console=notes, quiet=options.json):
        work = partial(_train_one, options, out)
        return run_tasks(out, tasks, Processes(len(tasks)), work, note)


def _train_one(options: QuickstartConfig, out: Path, task: Task) -> str:
    from algorithms.training.trainer import train  # noqa: PLC0415 - imports torch

    outcome = train(run_config(task.arm, options, out))
    if outcome.interrupted:
        return INTERRUPTED
    write_text(out / task.output, json.dumps({"run": task.arm, "steps": outcome.steps}) + "\n")
    return DONE


def _race(run: Path) -> dict[str, Any]:
    """Return what happened in a run, as plain JSON."""
    judge = ApothecaryJudge()
    curves = curves_of(Run(run).rows(), judge)
    race = race_of(curves[next(iter(measures(judge)))])
    shown = [asdict(one) for one in examples(run, race, judge)]
    return {**race.to_json(), "sentence": race.sentence(), "examples": shown, "curves": curves}
