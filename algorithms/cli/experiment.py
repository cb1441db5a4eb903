"""The command ``experiment``: run the parts of an experiment, report on them, verify the report."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from algorithms.cli.verified import print_verified
from algorithms.studies.executors import ExecutorName
from algorithms.studies.manifest import check_manifest, open_directory
from algorithms.studies.study import INTERRUPTED, Where, run_study
from redteam_env.game import Count, RedteamError, check_fields
from redteam_env.usage import need, read
from redteam_env.utils.console import make_console
from redteam_env.utils.locks import held

PROG = "redteam-env experiment"
ABOUT = "Test the papers' claims: train many arms over many seeds, measure, report with intervals."
_NEEDED = {"pyarrow": "eval", "torch": "train"}
_VERBS = ("report", "verify")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Run parts of an experiment; what is done already is left alone.

    Attributes:
        name: claims, or a plan of your own: a TOML file of the same form, FILE.py that assigns PLAN, or
            MODULE:NAME.
        part: Which parts, in their order.
        out: The experiment's directory.
        executor: Where tasks run: processes on this machine, one thread each; submitit (jobs of Slurm,
            the extra cluster); or ray (tasks on a Ray cluster, the extra ray).
        job: What a job of submitit or a task of Ray is asked for, NAME=VALUE with a comma between
            them, such as slurm_partition=gpu,timeout_min=600 or num_gpus=1.
        workers: Tasks side by side.
    """

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="[PLAN]")] = "claims"
    part: Annotated[
        tuple[str, ...], tyro.conf.arg(metavar="PART ...", help_behavior_hint="(default: all)")
    ] = ()
    out: str = "runs/claims"
    executor: ExecutorName = "processes"
    job: str = ""
    workers: Count = 2

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Write games, figures and two pages of every part that was run.

    Attributes:
        name: claims, or the plan that was run.
        out: The experiment's directory.
        to: Where the report goes.
    """

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="[PLAN]")] = "claims"
    out: str = "runs/claims"
    to: str = "runs/claims-report"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify:
    """Judge every game of a report again and compute every number again.

    Attributes:
        report: A directory that report wrote.
        use: Files and folders outside of it, and ids of the hub, that its manifest names, and that may be
            read or fetched.
        json: Print JSON instead of lines.
    """

    report: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    use: Annotated[
        tuple[str, ...], tyro.conf.arg(metavar="PLACE ...", help_behavior_hint="(default: none)")
    ] = ()
    json: bool = False


def experiment(argv: Sequence[str]) -> int:
    """Test the papers' claims: train many arms over many seeds, measure, report with intervals.

    Args:
        argv: ``NAME`` with options to run, ``report`` to report, ``verify DIRECTORY`` to verify.

    Returns:
        0 if all was done, 1 if a report does not hold, 130 after Ctrl-C.

    Raises:
        RedteamError: If a value is wrong, a package is missing, or the directory holds results of
            another manifest.
    """
    verb = argv[0] if argv and argv[0] in _VERBS else "run"
    rest = list(argv[1:] if verb in _VERBS else argv)
    config = (tyro.conf.FlagCreatePairsOff,)
    if verb == "report":
        return _report(tyro.cli(Report, prog=f"{PROG} report", args=rest, config=config))
    if verb == "verify":
        return _verify(tyro.cli(Verify, prog=f"{PROG} verify", args=rest, config=config))
    about = f"{ABOUT} Further: {PROG} report, {PROG} verify DIRECTORY."
    return _run(read(Run, rest, prog=PROG, description=about))


def _run(action: Run) -> int:
    need("experiment", _NEEDED)
    from algorithms.studies.experiments.reading import read_experiment
    from algorithms.studies.experiments.tasks import MANIFEST, do, manifest_of, tasks

    found = read_experiment(action.name)
    parts = [found.part(name) for name in action.part or found.parts]
    out = Path(action.out).expanduser()
    root = out.resolve()  # jobs may have another working directory
    console = make_console()
    where = Where(executor=action.executor, job=action.job, workers=action.workers)
    work = partial(do, dict(found.source), root)
    with held(out):
        open_directory(out / MANIFEST, manifest_of(found), what="experiment")
        for part in parts:
            if not run_study(root, tasks(found, part), work, where, console, code=found.code):
                return INTERRUPTED
            console.print(f"{part.name} is done. Report: {PROG} report {action.name} --out {root}")
    return 0


def _report(action: Report) -> int:
    need("experiment", _NEEDED)
    from algorithms.studies.experiments.reading import read_experiment
    from algorithms.studies.experiments.report import PAGE, write_report
    from algorithms.studies.experiments.tasks import MANIFEST, manifest_of

    found = read_experiment(action.name)
    root, target = Path(action.out).expanduser(), Path(action.to).expanduser()
    if not (root / MANIFEST).is_file():
        raise RedteamError(f"{str(root)!r} holds no experiment; run one there first.")
    check_manifest(root / MANIFEST, manifest_of(found))
    notes = make_console(stderr=True)
    command = f"{PROG} {shlex.quote(action.name)}"
    write_report(found, root, target, command=command, say=notes.print)
    make_console().print(f"Report: {target / PAGE}")
    return 0


def _verify(action: Verify) -> int:
    need("experiment", _NEEDED)
    from algorithms.studies.experiments.report import verify_report

    say = make_console(stderr=True).print
    wrong = verify_report(Path(action.report).expanduser(), say=say, used=action.use)
    print_verified(wrong, "Every verdict and every figure holds.", as_json=action.json)
    return 1 if wrong else 0
