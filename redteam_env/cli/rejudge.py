"""``redteam-env rejudge``: stored games under another judge."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from redteam_env.cli.main import version
from redteam_env.cli.options import judge_record, parse, shown_as
from redteam_env.evaluation import measure
from redteam_env.evaluation.calibration import calibration_of
from redteam_env.evaluation.rejudge import Rejudged, rejudge, verdicts_on
from redteam_env.evaluation.stored import REPORT, SCHEMA, stored_games
from redteam_env.game import Count, RedteamError, Share, check_fields
from redteam_env.judges import identity_of
from redteam_env.judges.judge import check_ready
from redteam_env.judges.resolve import resolve_judge
from redteam_env.protocols import Judge
from redteam_env.report import MOST_LOST, rejudged_report
from redteam_env.utils.console import make_console, progress_bar
from redteam_env.utils.files import write_aside


@dataclass(frozen=True, kw_only=True)
class RejudgeOptions:
    """Which games, and who judges them.

    Attributes:
        place: A run, or a directory that evaluate or crossplay wrote with --out.
        judge: The other judge, such as wildguard, or vote:A+B+C; cached:NAME remembers its verdicts.
        judge_url: Address of the judge's server.
        last: Of a run, the games of the last so many steps.
        out: Directory for report.json and the games with their new verdicts; it must be new or empty.
        allow_void: Share of games that may be void or forfeited; with more, the exit code is 3.
        seed: Addresses the bootstrap's draws.
        json: Print JSON instead of tables.
    """

    place: Annotated[Path, tyro.conf.Positional, shown_as("DIR")]
    judge: Annotated[str, shown_as("JUDGE")]
    judge_url: Annotated[str | None, shown_as("URL", "none")] = None
    last: Annotated[Count | None, shown_as("INT", "all")] = None
    out: Annotated[Path | None, shown_as("DIR", "none")] = None
    allow_void: Annotated[Share, shown_as("SHARE")] = MOST_LOST
    seed: int = 0
    json: bool = False

    def __post_init__(self) -> None:
        check_fields(self)


def rejudge_games(argv: Sequence[str]) -> int:
    """Show stored games under another judge, and how far the two agree; nothing is generated.

    Args:
        argv: The command's arguments.

    Returns:
        0; 1 if every game is void now; 3 if more games are void or forfeited than ``--allow-void`` allows.

    Raises:
        RedteamError: If an argument is wrong, or the directory holds no games.
    """
    text = "Show stored games under another judge, and how far the two agree; nothing is generated."
    options = parse(RejudgeOptions, argv, "rejudge", text)
    _check_out(options.out)
    stored = stored_games(options.place, last=options.last)
    judge = resolve_judge(options.judge, url=options.judge_url)
    calibration = calibration_of(judge)
    check_ready(judge)
    with progress_bar() as progress:
        verdicts = verdicts_on([x for own in stored for x in own.episodes], judge, progress)
    found = [
        rejudge(
            own.name,
            own.episodes,
            judge,
            verdicts,
            seats=own.seats,
            calibration=calibration,
            seed=options.seed,
        )
        for own in stored
    ]
    report = _report(options, judge, found)
    try:
        if options.out is not None:
            files = {own.file: x for own, x in zip(stored, found, strict=True)}
            _write(options.out, report, files)
    finally:
        if options.json:
            sys.stdout.write(json.dumps(report, indent=2, allow_nan=False) + "\n")
        else:
            for one in found:
                make_console().print(rejudged_report(one))
    return _exit_code(found, options.allow_void)


def _report(options: RejudgeOptions, judge: Judge, found: Sequence[Rejudged]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "command": "rejudge",
        "version": version(),
        "settings": {
            "place": str(options.place),
            "judge": options.judge,
            "judge_url": options.judge_url,
            "last": options.last,
            "seed": options.seed,
        },
        "judge": {**identity_of(judge).to_json(), **judge_record(judge)},
        "result": {"tables": [x.to_json() for x in found]},
    }


def _exit_code(found: Sequence[Rejudged], allowed: float) -> int:
    rates = measure([episode for x in found for episode in x.after.episodes])
    if rates.void == rates.games:
        sys.stderr.write(f"error: all {rates.games} games are void; nothing was measured.\n")
        return 1
    if rates.lost > allowed * rates.games:
        sys.stderr.write(
            f"error: {rates.lost} of {rates.games} games are void or forfeited, more than "
            f"--allow-void {allowed:g}; the rates are about the others only.\n"
        )
        return 3
    return 0


def _check_out(out: Path | None) -> None:
    if out is None:
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        full = any(out.iterdir())
    except OSError as error:
        raise RedteamError(f"--out {str(out)!r} cannot be used: {error}.") from error
    if full:
        raise RedteamError(
            f"--out {str(out)!r} is not empty; name a new directory, nothing is overwritten."
        )


def _write(out: Path, report: dict[str, Any], files: dict[str, Rejudged]) -> None:
    try:
        with write_aside(out.resolve(), shared=True) as folder:
            for name, found in files.items():
                file = folder / name
                file.parent.mkdir(parents=True, exist_ok=True)
                lines = (f"{x.to_json()}\n" for x in found.after.episodes)
                file.write_text("".join(lines), encoding="ascii")
            text = json.dumps(report, indent=2, allow_nan=False)
            (folder / REPORT).write_text(f"{text}\n", encoding="ascii")
    except OSError as error:
        raise RedteamError(f"--out {str(out)!r} could not be written: {error}.") from error
