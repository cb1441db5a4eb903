"""The command ``train``; listing the commands imports no torch."""

import dataclasses
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import tyro

from algorithms.training.config import RunConfig, TrainConfig, components, with_world
from algorithms.training.rundir import check_resumable
from redteam_env.game import RedteamError
from redteam_env.registry import split_name
from redteam_env.report import usage_lines
from redteam_env.runs import Run
from redteam_env.utils.consent import confirm
from redteam_env.utils.console import make_console
from redteam_env.utils.lists import listed
from redteam_env.utils.text import safe_text

INTERRUPTED = 130
CHOOSING = (
    *("world", "arrangement", "algorithm", "policy", "opponents", "callback"),
    *("lr", "kl", "entropy_bonus"),
)
"""Options that decide which other options there are, or what a world brings for them."""


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
    from algorithms.training.trainer import train as run

    # the processes of one machine have one command line, and one of them says what is wrong with it
    spoken = os.environ.get("LOCAL_RANK", "0") == "0"
    with ranks.together(), nullcontext() if spoken else _silence():
        config = parse_train(argv)
        check_resumable(config)
    if ranks.leads and ranks.world > 1 and not config.run.json:
        make_console(stderr=True).print(f"Training in {ranks.world} processes.")
    outcome = run(config)
    if not ranks.leads:
        return _exit_code(outcome)
    if config.run.json:
        print(_summary(outcome))  # noqa: T201 - the command's output
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


def _summary(outcome: Any) -> str:
    """Return an outcome as one JSON object."""
    return json.dumps(
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
    With ``--world`` the world's settings, and with ``--resume`` the run's own, take the place of the
    defaults.

    Args:
        argv: The command's arguments.

    Returns:
        The configuration.

    Raises:
        RedteamError: If a value is wrong.
        SystemExit: After ``--help`` (0) or an option that does not exist (2).
    """
    found = {name: _value(argv, f"--{name.replace('_', '-')}") for name in CHOOSING}
    given = {name: None if x == "None" else x for name, x in found.items() if x is not None}
    stored = _stored(argv)
    _confirm_stored(argv, stored)
    chosen = {**stored, **given} if stored else with_world(given)
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
    parsed: Any = tyro.cli(
        options,
        args=list(argv),
        prog="redteam-env train",
        description="Train an attacker and a defender against each other.",
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
    )
    return TrainConfig.of({name: getattr(parsed, name) for name in parts})


def _value(argv: Sequence[str], option: str) -> str | None:
    """Return an option's value before the options are parsed."""
    for k, word in enumerate(argv):
        if word == option and k + 1 < len(argv):
            return argv[k + 1]
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return None


def _stored(argv: Sequence[str]) -> dict[str, Any]:
    out = _value(argv, "--out")
    if "--resume" not in argv or out is None:
        return {}
    return Run(Path(out)).stored_config() or {}


def _confirm_stored(argv: Sequence[str], stored: Mapping[str, Any]) -> None:
    """Have the user confirm servers that a run's own file names and the command line does not.

    Raises:
        RedteamError: If nobody confirms one.
    """
    for name, value in stored.items():
        option = f"--{name.replace('_', '-')}"
        if not isinstance(value, str) or _value(argv, option) is not None:
            continue
        asked = [part for part in listed(value) if split_name(part)[1] is not None]
        if "://" in value or asked:
            confirm(
                f"{value!r} as {name}, to be asked with your key",
                source=f"The config.json of {_value(argv, '--out')!r}",
                named_by=f"{option} {value}",
            )


def _default(kind: Any, defaults: Mapping[str, Any]) -> Any:
    names = {f.name for f in dataclasses.fields(kind)} - {"out", "resume", "json"}
    return kind(**{name: value for name, value in defaults.items() if name in names})
