"""The command ``train``; listing the commands imports no torch."""

import dataclasses
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from types import MappingProxyType
from typing import Any

import tyro
from rich.console import Console

from algorithms.training.config import (
    RunConfig,
    TrainConfig,
    components,
    has_own_loop,
    with_presets,
)
from algorithms.training.departures import departures
from algorithms.training.presets import (
    begun_run,
    check_needs,
    meant_as_begun,
    resumed_options,
)
from algorithms.training.rundir import check_resumable, place_of
from redteam_env.game import RedteamError
from redteam_env.report import usage_lines
from redteam_env.runs import Run
from redteam_env.usage import NONE, need, read
from redteam_env.utils.argv import joined, named_in, value_of
from redteam_env.utils.console import make_console, strict, write_answer
from redteam_env.utils.text import safe_text

INTERRUPTED = 130
CHOOSING = (
    *("recipe", "config", "scale"),
    *("world", "arrangement", "algorithm", "policy", "opponents", "callback"),
    *("lr", "kl", "entropy_bonus"),
)
"""Options that decide which other options there are, or what a recipe or a world brings for them."""
LISTS = ("callback", "logger")
"""Lists with commas that may be given one member an option, too."""

OFTEN = (
    *("recipe", "world", "model", "seeds", "judge", "arrangement", "algorithm", "opponents"),
    *("steps", "games", "thinking", "backend", "device", "out", "resume"),
)
"""Options that ``--help`` shows."""
FURTHER: Mapping[str, str] = MappingProxyType(
    {
        "recipe": "recipes",
        "world": "worlds",
        "seeds": "seeds",
        "judge": "judges",
        "opponent": "agents",
        "scripted_attackers": "attacks",
        "callback": "callbacks",
        "logger": "loggers",
        "policy": "policies",
    }
)
"""Options whose choices ``--help-all`` lists, too."""
NAMED = ("recipe", "world", "judge")
"""Those whose choices ``--help`` names in a line."""


def train(argv: Sequence[str]) -> int:
    """Train an attacker and a defender against each other.

    Args:
        argv: The command's arguments.

    Returns:
        0 if the work is done, 1 if the run stopped because it could not do it, 130 after Ctrl-C.
    """
    from algorithms.core.ranks import join

    ranks = join()
    try:
        return _train(argv, ranks)
    except (RedteamError, KeyboardInterrupt) as error:
        if ranks.leads:
            raise
        ranks.let_leader_end()
        return 2 if isinstance(error, RedteamError) else INTERRUPTED


def _train(argv: Sequence[str], ranks: Any) -> int:
    # the processes of one machine have one command line, and one of them says what is wrong with it
    spoken = os.environ.get("LOCAL_RANK", "0") == "0"
    with ranks.together(), nullcontext() if spoken else _silence():
        config = parse_train(argv)
        _check_torch(config.run)
        check_resumable(config)
    notes = make_console(stderr=True)
    if ranks.leads and not config.run.json:
        if ranks.world > 1:
            notes.print(f"Training in {ranks.world} processes.")
        if config.run.recipe is not None:
            notes.print(safe_text(_departing(config)), soft_wrap=True)
    outcome = _run(config, notes if ranks.leads else None)
    if not ranks.leads:
        return _exit_code(outcome)
    if config.run.json:
        write_answer(f"{_summary(outcome)}\n")
        return _exit_code(outcome)
    console = make_console()
    if outcome.finished and not outcome.played:
        console.print(f"Nothing to do: {outcome.directory} has its {outcome.steps} steps.")
        return 0
    console.print(
        f"{outcome.steps} of {config.run.steps} steps done, {outcome.void} void games in this "
        f"session. Run directory: {outcome.directory}"
    )
    if outcome.usage:
        console.print(usage_lines(outcome.usage), soft_wrap=True)
    if outcome.stopped:
        console.print(f"Stopped early: {safe_text(outcome.stopped)}.", soft_wrap=True)
    elif not outcome.finished:
        console.print("Stopped by Ctrl-C; the same command with --resume goes on from here.")
    if not outcome.finished:
        return _exit_code(outcome)
    if (
        config.run.policy == RunConfig().policy
    ):  # another's weights are played by a plug-in of its own
        console.print(f"Compare it with: redteam-env crossplay {outcome.directory} base")
    return 0


def _check_torch(run: RunConfig) -> None:
    """Refuse to train a model without torch; policies of others, and loops of their own, ask for what they need."""
    if run.policy == RunConfig().policy and not has_own_loop(run.algorithm):
        need("train", {"torch": "train"})


def _run(config: TrainConfig, notes: Console | None) -> Any:
    from algorithms.training.trainer import train as run

    try:
        return run(config)
    except KeyboardInterrupt:
        if notes is not None:
            notes.print(safe_text(_stopped_at_once(config)), soft_wrap=True)
        raise


def _stopped_at_once(config: TrainConfig) -> str:
    """Return what is kept of a run that a second Ctrl-C ended."""
    steps = [x.step for x in Run(place_of(config)).checkpoints()]
    if not steps:
        return "Stopped at once, before the first checkpoint: no step is kept; give the command with --resume."
    return (
        f"Stopped at once: what came after the last checkpoint (step {steps[-1]}) is not kept; the same "
        "command with --resume goes on from there."
    )


def _departing(config: TrainConfig) -> str:
    """Return in what a run differs from the recipe that it names."""
    found = departures(config)
    where = f"the recipe {config.run.recipe}"
    if config.run.scale != RunConfig().scale:
        where += f" at scale {config.run.scale}"
    if found is None:
        return f"In what this differs from {where} is not known: it cannot be read here."
    if not found:
        return f"As in {where}."
    listed = "; ".join(
        f"{name} {own!r} (there {theirs!r})" for name, (theirs, own) in found.items()
    )
    return f"Differs from {where}: {listed}."


def _summary(outcome: Any) -> str:
    """Return an outcome as one JSON object."""
    record = strict(
        {
            "run": str(outcome.directory),
            "steps": outcome.steps,
            "played": outcome.played,
            "finished": outcome.finished,
            "void": outcome.void,
            **({"stopped": outcome.stopped} if outcome.stopped else {}),
            **({"usage": list(outcome.usage)} if outcome.usage else {}),
        }
    )
    return json.dumps(record, allow_nan=False)


def _exit_code(outcome: Any) -> int:
    """Return 0 if the work was done, 1 if the run stopped as failed, 130 after Ctrl-C."""
    if outcome.finished:
        return 0
    return 1 if outcome.stopped else INTERRUPTED


@contextmanager
def _silence() -> Iterator[None]:
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield


def parse_train(argv: Sequence[str]) -> TrainConfig:
    """Read the options of ``train``.

    The options come from the config dataclasses, the algorithm's (a plug-in's too) among them.
    With ``--recipe``, ``--config`` and ``--world`` the settings of recipe, file and world, and with
    ``--resume`` the run's own, take the place of the defaults.

    Args:
        argv: The command's arguments.

    Returns:
        The configuration.

    Raises:
        RedteamError: If a value is wrong.
        SystemExit: After ``--help`` (0) or an option that does not exist (2).
    """
    argv = joined(argv, LISTS)
    found, said = {name: value_of(argv, name) for name in CHOOSING}, named_in(argv)
    given = {name: None if x in NONE else x for name, x in found.items() if x is not None}
    run = begun_run({"resume": "--resume" in argv, "out": value_of(argv, "out")})
    chosen = with_presets(given, said) if run is None else resumed_options(run, given, said)
    parts = components(chosen)
    defaults = {name: x for name, x in chosen.items() if name not in given}
    options = dataclasses.make_dataclass(
        "Options",
        [
            (name, kind, dataclasses.field(default=_default(kind, defaults)))
            for name, kind in parts.items()
        ],
        frozen=True,
        namespace={"__doc__": "Train an attacker and a defender against each other."},
    )
    parsed: Any = read(
        options,
        argv,
        prog="redteam-env train",
        description="Train an attacker and a defender against each other.",
        often=OFTEN,
        choices={"algorithm": "algorithms", "opponents": "opponents"},
        further=FURTHER,
        named=NAMED,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )
    settings = {name: getattr(parsed, name) for name in parts}
    config = TrainConfig.of(settings if run is None else _as_begun(settings, run))
    if run is None:
        check_needs(config.flat(), said)
    return config


def _as_begun(parts: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """Return the settings of all components; words that the run was begun with mean what they did there."""
    names = {part: [x.name for x in dataclasses.fields(own)] for part, own in parts.items()}
    again = meant_as_begun(run, {x: getattr(parts[part], x) for part in parts for x in names[part]})
    return {
        part: dataclasses.replace(own, **{x: again[x] for x in names[part] if x in again})
        for part, own in parts.items()
    }


def _default(kind: Any, defaults: Mapping[str, Any]) -> Any:
    names = {f.name for f in dataclasses.fields(kind)} - {"out", "resume", "json", "quiet"}
    return kind(**{name: value for name, value in defaults.items() if name in names})
