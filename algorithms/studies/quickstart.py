"""The command ``quickstart``: self-play in the controlled world, and what it did to both sides.

It trains two arrangements of LoRA weights on the model that comes with the package, one after the
other, then plays all attackers against all defenders (:mod:`algorithms.studies.quickstart_result`). It can
be stopped at any time and goes on where it was.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import tyro

from algorithms.studies.quickstart_result import ARRANGEMENTS, RATES, READING, measure, report
from algorithms.training.config import RunConfig, TrainConfig
from algorithms.training.rundir import open_run
from redteam_env.game import Count, RedteamError, at_least, check_fields
from redteam_env.runs import Run
from redteam_env.utils.console import make_console, progress_bar
from redteam_env.utils.files import write_text
from redteam_env.utils.packages import versions
from redteam_env.worlds.apothecary import ApothecaryJudge, seeds

WORLD = "apothecary"
SETTINGS: Mapping[str, Any] = MappingProxyType(
    {
        **dict.fromkeys(("model", "seeds", "judge", "prompts"), WORLD),
        "rank": 16,
        "max_new_tokens": 24,
        "lr": 5e-4,
        "warmup_steps": 5,
        "kl": 0.05,
        "faithfulness_gate": -1.5,
        "drop_unfaithful": True,
        "thinking": "none",
        "checkpoint_every": 10,
    }
)
"""Options of ``train`` that learn within a few dozen steps here. Without the gate attackers rewrite
harm away, and games with such rewrites would teach the defender wrong labels."""

TRAINING = ("steps", "games", "seed")
"""Options of ``quickstart`` that are the runs' own."""

OUT = "runs/quickstart"
RESULT = "result.json"
SCHEMA = 1
INTERRUPTED = 130
_RUN = RunConfig(steps=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickstartConfig:
    """Options of ``quickstart``.

    Attributes:
        steps: Training steps of each arrangement.
        games: Games a step.
        evaluation_games: Held-out games of each pairing, half from harmful seeds; and half as many
            quiz questions.
        seed: Seed of everything random.
        out: Directory of the two runs and result.json; by default the first of runs/quickstart,
            runs/quickstart-2 and so on that is free. A quickstart that was interrupted there goes
            on.
        json: Print the result as JSON instead of tables.
    """

    steps: Count = _RUN.steps
    games: Count = _RUN.games
    evaluation_games: Annotated[int, at_least(2)] = 512
    seed: int = _RUN.seed
    out: str | None = None
    json: bool = False

    def __post_init__(self) -> None:
        check_fields(self)


def quickstart(argv: Sequence[str]) -> int:
    """Train two arrangements in a small controlled world, compare them in cross-play; no download.

    Args:
        argv: The command's arguments.

    Returns:
        0 if all was done, 130 after Ctrl-C.

    Raises:
        RedteamError: If a value is wrong or the directory cannot be used.
    """
    options = parse_quickstart(argv)
    out = Path(options.out or _free_directory(OUT))
    configs = {name: run_config(name, options, out) for name in ARRANGEMENTS}
    _open(out, configs)
    try:
        result = _work(options, out, configs)
    except KeyboardInterrupt:
        result = None
    notes = make_console(stderr=True)
    if result is None:
        command = shlex.join(("redteam-env", "quickstart", "--out", str(out)))
        notes.print(f"Stopped by Ctrl-C. This goes on from here: {command}")
        return INTERRUPTED
    write_text(out / RESULT, json.dumps(result, indent=1, allow_nan=False) + "\n")
    if options.json:
        print(json.dumps(result, allow_nan=False))  # noqa: T201 - the command's output
    else:
        make_console().print(report(result))
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
    stored = Run(Path(options.out) / ARRANGEMENTS[0]).stored_config() if options.out else None
    if stored is None:
        return options
    begun = {name: stored[name] for name in TRAINING if name in stored}
    return _parse(argv, replace(QuickstartConfig(), **begun))


def _parse(argv: Sequence[str], default: QuickstartConfig) -> QuickstartConfig:
    return tyro.cli(
        QuickstartConfig,
        args=list(argv),
        default=default,
        prog="redteam-env quickstart",
        description="Train two arrangements of LoRA weights in the controlled world apothecary, one "
        "after the other, and play all attackers against all defenders. Nothing is downloaded.",
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def run_config(arrangement: str, options: QuickstartConfig, out: Path) -> TrainConfig:
    """Return the configuration of one of the two runs.

    Args:
        arrangement: Which.
        options: The command's options.
        out: The quickstart's directory.

    Returns:
        :data:`SETTINGS` with the options.
    """
    return TrainConfig.from_flat(
        {
            **SETTINGS,
            "arrangement": arrangement,
            **{name: getattr(options, name) for name in (*TRAINING, "json")},
            "out": str(out / arrangement),
            "resume": True,
        }
    )


def _free_directory(name: str) -> str:
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
        if strange := sorted(x for x in there - {*configs, RESULT} if not x.startswith(".")):
            raise RedteamError(
                f"{str(out)!r} holds {strange[0]!r}, which is no part of a quickstart; give another "
                "directory as --out."
            )
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
    options: QuickstartConfig, out: Path, configs: Mapping[str, TrainConfig]
) -> dict[str, Any] | None:
    """Train and measure; ``None`` if Ctrl-C ended a run early."""
    from algorithms.training.trainer import train  # noqa: PLC0415 - imports torch

    notes = make_console(stderr=True)
    parts = len(configs) + 1
    for k, (name, config) in enumerate(configs.items(), 1):
        if not options.json:
            notes.print(f"{k}/{parts} Training {name}: {options.steps} steps of {options.games}.")
        if train(config).interrupted:
            return None
    if not options.json:
        notes.print(f"{parts}/{parts} Playing all attackers against all defenders, held out.")
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
        "runs": {name: str(out / name) for name in configs},
        "result": str(out / RESULT),
        "judge": ApothecaryJudge.name,
        "seeds": asdict(seeds().card),
        "rates": dict(RATES),
        **found,
        "reading": READING,
    }
