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
from redteam_env.cli.results import exit_code, reserve, write_results
from redteam_env.evaluation import measure
from redteam_env.evaluation.calibration import calibration_of
from redteam_env.evaluation.rejudge import Rejudged, rejudge, verdicts_on
from redteam_env.evaluation.stored import SCHEMA, stored_games
from redteam_env.game import Count, Share, check_fields
from redteam_env.judges import identity_of
from redteam_env.judges.judge import check_ready
from redteam_env.judges.resolve import resolve_judge
from redteam_env.protocols import Judge
from redteam_env.report import MOST_LOST, rejudged_report
from redteam_env.utils.console import make_console, progress_bar


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
    reserve(options.out)
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
            files = {own.file: x.after.episodes for own, x in zip(stored, found, strict=True)}
            write_results(options.out, report, files)
    finally:
        if options.json:
            sys.stdout.write(json.dumps(report, indent=2, allow_nan=False) + "\n")
        else:
            for one in found:
                make_console().print(rejudged_report(one))
    return exit_code(measure([x for one in found for x in one.after.episodes]), options.allow_void)


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
