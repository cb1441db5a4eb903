"""The command ``bench``: run a benchmark, print its leaderboard, verify one."""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import tyro

from algorithms.cli.verified import print_verified
from algorithms.studies.bench.cells import check_parts
from algorithms.studies.bench.config import BenchConfig, config_from
from algorithms.studies.bench.ladder import RUNGS, check_ladder, is_ladder, register
from algorithms.studies.bench.tasks import MANIFEST, able, do, manifest_of, tasks
from algorithms.studies.manifest import open_directory
from algorithms.studies.plans import read_plan
from algorithms.studies.study import INTERRUPTED, Where, run_study
from redteam_env.game import RedteamError
from redteam_env.usage import need, read
from redteam_env.utils.console import make_console, print_json
from redteam_env.utils.lists import listed
from redteam_env.utils.locks import held
from redteam_env.utils.text import safe_text

PROG = "redteam-env bench"
ABOUT = "Train every algorithm in every arrangement on equal budgets and rank them with intervals."
QUICK: Mapping[str, Any] = MappingProxyType(
    {
        "arrangements": "bipolicy",
        "seeds": 4,
        "budget": 4800,
        "suite_games": 128,
        "panel_attackers": "base",
        "panel_defenders": "base,half_trained",
        "panel_games": 128,
        "cross_games": 16,
        "response_budget": 0,
        "out": "runs/bench-quick",
    }
)
"""Defaults under ``--quick``: a verdict on two algorithms after about 600 steps of training."""
LADDER: Mapping[str, Any] = MappingProxyType(
    {
        "algorithms": ",".join(rung.name for rung in RUNGS),
        "arrangements": "bipolicy",
        "response_budget": 0,
        "out": "runs/ladder",
    }
)
"""Defaults of ``ladder``."""
WRONG_ORDER = 3
"""The exit code for a ladder whose rungs are not in their order."""
OFTEN = (
    "algorithms",
    "arrangements",
    "seeds",
    "budget",
    "model",
    "world",
    "workers",
    "out",
    "json",
)
"""Options that ``--help`` shows."""
_NEEDED = {"pyarrow": "eval", "openskill": "eval", "matplotlib": "report", "torch": "train"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify:
    """Judge every stored game again and compute every number of a leaderboard again.

    Attributes:
        file: leaderboard.json, or the directory it is in.
        use: Files and folders outside of it, and ids of the hub, that its manifest names, and that may be
            read or fetched.
        json: Print JSON instead of lines.
    """

    file: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    use: Annotated[
        tuple[str, ...], tyro.conf.arg(metavar="PLACE ...", help_behavior_hint="(default: none)")
    ] = ()
    json: bool = False


def bench(argv: Sequence[str]) -> int:
    """Train algorithms on equal budgets, measure and rank them; verify a leaderboard.

    Args:
        argv: Options to run, ``--quick`` among them perhaps, with a plan before them or ``ladder``; or
            ``verify FILE``.

    Returns:
        0 if all was done, 1 if a leaderboard does not hold, 3 if a ladder is not in its order, 130 after
        Ctrl-C.

    Raises:
        RedteamError: If a value is wrong, a package is missing, or the directory holds results of
            another manifest.
    """
    flags = (tyro.conf.FlagCreatePairsOff,)
    if argv and argv[0] == "verify":
        return _verify(tyro.cli(Verify, prog=f"{PROG} verify", args=list(argv[1:]), config=flags))
    named = argv[0] if argv and not argv[0].startswith("-") else None
    options = [x for x in argv[named is not None :] if x != "--quick"]
    plan = None
    default = BenchConfig(**(QUICK if "--quick" in argv else {}))
    if named == "ladder":
        default = dataclasses.replace(default, **LADDER)
    elif named is not None:
        plan = read_plan(named, what="plan of a benchmark")
        if len(options) < len(argv) - 1:
            raise RedteamError("--quick sets what a plan sets, too; give one of them.")
        default = config_from(plan.data)
    about = (
        f"{ABOUT} With --quick, defaults for a verdict on two algorithms after about 600 steps of training. "
        f"Further: {PROG} PLAN with these options (a TOML file of them, FILE.py that assigns PLAN, or "
        f"MODULE:NAME), {PROG} ladder with them (an algorithm and five broken versions, to see what is told apart), "
        f"{PROG} verify FILE."
    )
    config = read(
        BenchConfig,
        options,
        prog=PROG,
        description=about,
        often=OFTEN,
        choices={"algorithms": "algorithms"},
        default=default,
        config=flags,
    )
    register(listed(config.algorithms))
    if named == "ladder" or is_ladder(config):
        check_ladder(config)
    return _run(config, f"{PROG} {shlex.join(argv)}".strip(), None if plan is None else plan.source)


def _run(config: BenchConfig, command: str, code: str | None) -> int:
    need("bench", _NEEDED)
    check_parts(config)
    with held(Path(config.out).expanduser()):
        return _bench(config, command, code)


def _placed(policy: Any) -> str:
    """Return on what a benchmark's runs are trained, in words; empty for policies without a model."""
    model = getattr(policy, "model", None)
    if model is None:
        return ""
    own = {x: getattr(policy, x, None) for x in ("device", "dtype", "backend")}
    return f"Model: {', '.join([model, *(f'{x} {y}' for x, y in own.items() if y)])}. "


def _bench(config: BenchConfig, command: str, code: str | None) -> int:
    from algorithms.studies.bench.report import write_report
    from algorithms.studies.bench.terminal import terminal

    root = Path(config.out).expanduser()
    open_directory(root / MANIFEST, manifest_of(config), what="benchmark")
    root = root.resolve()  # jobs may have another working directory
    cells = able(config)
    every = tasks(config, cells)
    where = Where(executor=config.executor, job=config.job, workers=config.workers)
    work, console = partial(do, config, root), make_console(stderr=True)
    policy = config.options(cells[0], 0, root).policy
    console.print(safe_text(f"{_placed(policy)}{len(every)} tasks, {config.workers} side by side."))
    if not run_study(root, every, work, where, console, code=code):
        return INTERRUPTED
    target = Path(config.to).expanduser() if config.to else root / "report"
    figures = write_report(root, every, target, command=command)
    if config.json:
        print_json(figures)
    else:
        out = make_console()
        out.print(terminal(figures))
        out.print(f"Report: {target}. Check it with: {PROG} verify {target / 'leaderboard.json'}")
    return WRONG_ORDER if figures.get("ladder", {}).get("faults") else 0


def _verify(action: Verify) -> int:
    need("bench", _NEEDED)
    from algorithms.studies.bench.report import verify

    say = make_console(stderr=True).print
    wrong = verify(Path(action.file).expanduser(), say=say, used=action.use)
    print_verified(wrong, "Every number holds.", as_json=action.json)
    return 1 if wrong else 0
