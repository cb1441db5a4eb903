"""``redteam-env rejudge``: stored games under another judge."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Group, RenderableType

from redteam_env.cli.main import version
from redteam_env.cli.options import judge_record, parse, shown_as
from redteam_env.cli.results import exit_code, judging, reserve, suites_exit_code, write_results
from redteam_env.evaluation import measure
from redteam_env.evaluation.calibration import Calibration, calibration_of
from redteam_env.evaluation.rejudge import Asked, check_read, rejudge, under, verdicts_on
from redteam_env.evaluation.stored import (
    PLAN,
    REJUDGED,
    SCHEMA,
    Stored,
    is_of_suites,
    stored_games,
    told_of,
)
from redteam_env.evaluation.stored_suites import rejudge_suite, stored_suites
from redteam_env.game import Count, Episode, RedteamError, Seed, Share, Verdict, check_fields
from redteam_env.judges import for_contexts, identity_of
from redteam_env.judges.judge import check_ready
from redteam_env.judges.resolve import resolve_judge
from redteam_env.protocols import Judge
from redteam_env.report import MOST_LOST, rejudged_report, suites_rejudged_report
from redteam_env.utils.console import make_console, print_json
from redteam_env.utils.locks import held
from redteam_env.utils.text import safe_text
from redteam_env.worlds import check_fit


@dataclass(frozen=True, kw_only=True)
class RejudgeOptions:
    """Which games, and who judges them.

    Attributes:
        place: A run, or a directory that evaluate (with or without --suite or --attack) or crossplay wrote with
            --out.
        judge: The other judge, such as wildguard, or vote:A+B+C; cached:NAME remembers its verdicts.
        judge_url: Address of the judge's server.
        last: Of a run, the games of the last so many steps.
        out: Directory for report.json and the games with their new verdicts; it must be new or empty.
        allow_void: Share of games that may be void or forfeited; with more, the exit code is 3.
        mix_worlds: Ask a judge that cannot read the games' language, such as an English one about a world's.
        seed: Sets the random draws of the intervals.
        json: Print JSON instead of tables.
    """

    place: Annotated[Path, tyro.conf.Positional, shown_as("DIR")]
    judge: Annotated[str, shown_as("JUDGE")]
    judge_url: Annotated[str | None, shown_as("URL", "none")] = None
    last: Annotated[Count | None, shown_as("INT", "all")] = None
    out: Annotated[Path | None, shown_as("DIR", "none")] = None
    allow_void: Annotated[Share, shown_as("SHARE")] = MOST_LOST
    mix_worlds: bool = False
    seed: int = 0
    json: bool = False

    def __post_init__(self) -> None:
        check_fields(self)


def rejudge_games(argv: Sequence[str]) -> int:
    """Show stored games under another judge, and how far the two agree; nothing is generated.

    Args:
        argv: The command's arguments.

    Returns:
        0; 1 if every game is void now, or no answer of a suite has a verdict; 3 if more games are void or forfeited than ``--allow-void`` allows.

    Raises:
        RedteamError: If an argument is wrong, or the directory holds no games.
    """
    text = "Show stored games under another judge, and how far the two agree; nothing is generated."
    options = parse(RejudgeOptions, argv, "rejudge", text)
    reserve(options.out)
    if is_of_suites(options.place):
        return _suites(options)
    stored = stored_games(options.place, last=options.last)
    for place in (x for games in stored for x in games.left_out):
        make_console(stderr=True).print(safe_text(told_of(place), "yellow"), soft_wrap=True)
    judge, calibration = _judge(options, [x.seed for games in stored for x in games.episodes])
    check_read([x for games in stored for x in _attempts(games)], judge)
    played = [x for games in stored for x in (*games.episodes, *_attempts(games))]
    with _held(options.out), judging(options.judge, options.judge_url) as progress:
        verdicts = verdicts_on(played, judge, progress)
    tables = [
        rejudge(
            games.name,
            games.episodes,
            judge,
            verdicts,
            seats=games.seats,
            attempts=_attempts(games),
            most=games.most,
            again=games.again,
            calibration=calibration,
            seed=options.seed,
        )
        for games in stored
    ]
    result = {"tables": [x.to_json() for x in tables], "cut": sum(x.cut for x in tables)}
    files: dict[str, Sequence[Episode]] = {
        games.file: x.after.episodes for games, x in zip(stored, tables, strict=True)
    }
    for games in stored:
        if games.attempts is not None:
            files[games.attempts[0]] = [under(x, verdicts) for x in games.attempts[1]]
    _deliver(options, _report(options, judge, result), files, Group(*map(rejudged_report, tables)))
    return exit_code(measure([x for one in tables for x in one.after.episodes]), options.allow_void)


def _suites(options: RejudgeOptions) -> int:
    """Score an evaluation of suites again."""
    if options.last is not None:
        raise RedteamError(
            f"{str(options.place)!r} is no run, so it has no last steps; leave --last out."
        )
    stored = stored_suites(options.place)
    judge, calibration = _judge(options, [x.seed for x in stored.episodes])
    check_read(stored.episodes, judge)
    found: dict[str, Mapping[Asked, Verdict]] = {}
    for has_contexts in (False, True):
        alike = [suite for suite in stored.suites if suite.has_contexts is has_contexts]
        played = [game for suite in alike for game in suite.episodes]
        reader = for_contexts(judge) if has_contexts else judge
        with _held(options.out), judging(options.judge, options.judge_url) as progress:
            verdicts = verdicts_on(played, reader, progress)
        found |= dict.fromkeys([suite.name for suite in alike], verdicts)
    suites = [
        rejudge_suite(
            suite,
            stored,
            found[suite.name],
            judge=judge.name,
            calibration=calibration,
            seed=options.seed,
        )
        for suite in stored.suites
    ]
    files = {
        suite.file: [under(game, found[suite.name]) for game in suite.episodes]
        for suite in stored.suites
    }
    told = {"name": judge.name, "smoke_only": judge.smoke_only}
    shown = suites_rejudged_report(
        suites,
        defender=stored.defender,
        judges=(stored.judge, judge.name),
        smoke_only=judge.smoke_only,
        attempts=stored.attempts,
        attack=stored.attack,
        calibration=calibration,
    )
    result = {"suites": [x.to_json() for x in suites], "cut": sum(x.cut for x in suites)}
    report = _report(options, judge, result)
    _deliver(options, report, files, shown, {PLAN: {**stored.plan, "judge": told}})
    return suites_exit_code([x.after for x in suites], options.allow_void)


def _held(out: Path | None) -> AbstractContextManager[None]:
    """Hold the output directory while the judge is asked, whose answers a second command would throw away."""
    return nullcontext() if out is None else held(out)


def _judge(options: RejudgeOptions, seeds: Sequence[Seed]) -> tuple[Judge, Calibration | None]:
    place, mix = str(options.place), options.mix_worlds
    check_fit(place, options.judge, source=seeds, mix=mix, option="directory")
    judge = resolve_judge(options.judge, url=options.judge_url)
    calibration = calibration_of(judge)
    check_ready(judge)
    return judge, calibration


def _attempts(games: Stored) -> Sequence[Episode]:
    return () if games.attempts is None else games.attempts[1]


def _deliver(
    options: RejudgeOptions,
    report: dict[str, Any],
    files: Mapping[str, Sequence[Episode]],
    shown: RenderableType,
    records: Mapping[str, Any] | None = None,
) -> None:
    try:
        if options.out is not None:
            write_results(options.out, report, files, records)
    finally:
        if options.json:
            print_json(report)
        else:
            make_console().print(shown)


def _report(options: RejudgeOptions, judge: Judge, result: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "command": REJUDGED,
        "version": version(),
        "settings": {
            "place": str(options.place),
            "judge": options.judge,
            "judge_url": options.judge_url,
            "last": options.last,
            "seed": options.seed,
        },
        "judge": {**identity_of(judge).to_json(), **judge_record(judge)},
        "result": result,
    }
