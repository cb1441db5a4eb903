"""``redteam-env report``: what runs and measurements came to, as a page or as logs of inspect_ai."""

import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from redteam_env.cli.options import parse, shown_as
from redteam_env.game import Count, RedteamError, check_fields
from redteam_env.page import MOST_GAMES, Made, make_page, write_logs
from redteam_env.utils.console import make_console, print_json
from redteam_env.utils.text import safe_text

PAGE, LOGS = Path("report.html"), Path("report-logs")
Format = Literal["html", "eval"]


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What is reported on, and where the report goes.

    Attributes:
        places: Runs, directories that evaluate, crossplay, rejudge or quickstart wrote, and results of
            bench and experiment; several stand side by side.
        out: The file to write, with --format eval the directory of logs. Reports and their logs that are there
            are replaced, other files are not.
        format: A page (html), or logs that inspect_ai's viewer opens (eval).
        show_text: Put what players wrote into the file, too; without it only games of an invented world
            have texts.
        games: Most games that can be looked at, and that are read of a run.
        json: Print JSON instead of a line.
    """

    places: Annotated[tuple[Path, ...], tyro.conf.Positional, shown_as("DIR ...")]
    out: Annotated[
        Path | None,
        tyro.conf.arg(
            aliases=("-o",),
            metavar="PATH",
            help_behavior_hint=f"(default: {PAGE}; with --format eval, {LOGS})",
        ),
    ] = None
    format: Format = "html"
    show_text: bool = False
    games: Count = MOST_GAMES
    json: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.places:
            raise RedteamError("Nothing to report on is named; name a run or another directory.")


def report(argv: Sequence[str]) -> int:
    """Make a page of runs and measurements: tables, curves, and every game to look at.

    Args:
        argv: The command's arguments.

    Returns:
        0.

    Raises:
        RedteamError: If an argument is wrong, or a directory cannot be reported on.
    """
    text = "Make a page of runs and measurements: tables, curves, and every game to look at."
    options = parse(ReportOptions, argv, "report", text)
    if options.format == "eval":
        return _logs(options)
    start = time.perf_counter()
    made = make_page(
        options.places, options.out or PAGE, show_text=options.show_text, most_games=options.games
    )
    seconds = time.perf_counter() - start
    if options.json:
        print_json(_record(made, seconds))
    else:
        make_console().print(safe_text(_line(made, seconds)), soft_wrap=True)
    return 0


def _logs(options: ReportOptions) -> int:
    out = options.out or LOGS
    files = write_logs(options.places, out, show_text=options.show_text, most_games=options.games)
    if options.json:
        print_json({"files": list(map(str, files))})
    else:
        told = f"{len(files)} logs in {out}; inspect view --log-dir {shlex.quote(str(out))} opens them."
        make_console().print(safe_text(told), soft_wrap=True)
    return 0


def _record(made: Made, seconds: float) -> dict[str, Any]:
    return {**asdict(made), "file": str(made.file), "seconds": round(seconds, 2)}


def _line(made: Made, seconds: float) -> str:
    texts = {
        "absent": "what players wrote is not in it",
        "folded": "what players wrote is in it: think before you share it",
        "open": "its world is invented",
    }
    told = f"; {texts[made.texts]}" if made.games else ""
    size = f"{made.size / 1e6:.1f} MB" if made.size >= 1e6 else f"{made.size / 1e3:.0f} kB"
    return f"{made.file}: {made.games:,} games, {size}, in {seconds:.1f} s{told}."
