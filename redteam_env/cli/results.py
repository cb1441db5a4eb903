"""Where the results of a command go: a new directory, written at once, and the command's exit code."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redteam_env.evaluation import Rates
from redteam_env.evaluation.stored import PLAN, REPORT, SCHEMA
from redteam_env.evaluation.suite_play import SuiteResult
from redteam_env.game import Episode, RedteamError
from redteam_env.utils.console import Shown, progress_bar
from redteam_env.utils.files import is_empty, read_record, write_aside, write_text

CACHED = "cached:"
"""What a judge's name begins with whose verdicts are remembered."""


def exit_code(rates: Rates, allowed: float) -> int:
    """Return 0, or why the rates are not to be relied on, which is told.

    Args:
        rates: Of all games that were played.
        allowed: Largest share of games that may be void or forfeited.

    Returns:
        0; 1 if every game was void; 3 if more were void or forfeited than allowed.
    """
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


def suites_exit_code(results: Sequence[SuiteResult], allowed: float) -> int:
    """Return 0, or why the figures of suites are not to be relied on, which is told.

    Args:
        results: What came of each suite.
        allowed: Largest share of answers that may be missing in the suite's own metric.

    Returns:
        0; 1 if no answer was judged; 3 if more are missing than allowed.
    """
    rows = [row for result in results for row in result.rows]
    lost, answers = sum(row.lost for row in rows), sum(row.answers for row in rows)
    if lost == answers:
        sys.stderr.write(f"error: none of {answers} answers was judged; nothing was measured.\n")
        return 1
    missing = sum(row.missing for row in rows)
    if missing / answers > allowed:
        sys.stderr.write(
            f"error: {missing} of {answers} answers are not in their suite's own metric, more than --allow-void "
            f"{allowed:g}; it is about the others only.\n"
        )
        return 3
    return 0


@contextmanager
def judging(spec: str, url: str | None) -> Iterator[Shown]:
    """Show who judges and how far that is; after Ctrl-C say how verdicts are remembered.

    Args:
        spec: The judge, as the user named it.
        url: Its address, if one was given.

    Yields:
        Is called as ``progress(phase, done, total)``.
    """
    with progress_bar() as bar:
        bar.say(f"Judge: {spec}{f' at {url}' if url else ''}.")
        try:
            yield bar
        except KeyboardInterrupt:
            if not spec.startswith(CACHED):
                bar.say(f"Nothing was kept; {CACHED}{spec} remembers each verdict.")
            raise


def reserve(out: Path | None, plan: Mapping[str, Any] | None = None) -> None:
    """Make the output directory before anything is played, or find it as the same command left it.

    Args:
        out: The directory; with ``None`` nothing is done.
        plan: Everything that the results depend on, of a command that goes on where it was interrupted. It
            is kept there.

    Raises:
        RedteamError: If it holds anything else, or cannot be made.
    """
    if out is None:
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        hidden = plan is not None and all(x.name.startswith(".") for x in out.iterdir())
        full = not (hidden or is_empty(out))
        begun = plan is not None and (out / PLAN).is_file()
        if plan is not None and not full:
            write_text(out / PLAN, f"{json.dumps(plan, indent=2, allow_nan=False)}\n")
    except OSError as error:
        raise RedteamError(f"--out {str(out)!r} cannot be used: {error}.") from error
    if not full:
        return
    if plan is None or not begun:
        raise _used(out)
    check_same(out, out / PLAN, plan)


def check_unused(out: Path | None, *, but: str) -> None:
    """Refuse a directory of results before anything is loaded or played.

    Args:
        out: The directory; with ``None`` nothing is done.
        but: The folder that marks a directory in which a command goes on.

    Raises:
        RedteamError: If it holds something and not that folder, or is none.
    """
    if out is None or not out.exists():
        return
    try:
        if not (out / but).is_dir() and not is_empty(out):
            raise _used(out)
    except OSError as error:
        raise RedteamError(f"--out {str(out)!r} cannot be used: {error}.") from error


def check_same(out: Path, file: Path, plan: Mapping[str, Any]) -> None:
    """Compare what the games of a command depend on with what is kept of it.

    Args:
        out: The directory of results, for messages.
        file: Where it is kept.
        plan: What they depend on now.

    Raises:
        RedteamError: If it differs, or the file cannot be read.
    """
    found = read_record(file, schema=SCHEMA, remedy="Name a new directory.")
    now = json.loads(json.dumps(plan))
    if found != now:
        if lacking := _lacking(found, now):
            raise RedteamError(
                f"--out {str(out)!r} was begun by an earlier version, whose {PLAN} does not tell "
                f"{', '.join(lacking)}, so this one cannot go on with it; name a new directory, or finish it with "
                "the version that began it."
            )
        differ = sorted(x for x in now if now[x] != found.get(x))
        raise RedteamError(
            f"--out {str(out)!r} holds another evaluation (other {', '.join(differ)}); name a new "
            "directory, or repeat the command that began it."
        )


def _lacking(found: Mapping[str, Any], plan: Mapping[str, Any]) -> list[str]:
    """Return what an earlier version's plan does not tell: of suites that stand in both, and of all else.

    Whatever else plans of one version do not tell alike, other options made.
    """
    then, now = found.get("suites"), plan.get("suites", {})
    pairs = [(then.get(name), now[name]) for name in now] if isinstance(then, dict) else []
    if found.get("version") != plan["version"]:
        pairs += [(found, plan), (found.get("settings"), plan["settings"])]
    return sorted(
        {x for then, now in pairs if isinstance(then, dict) for x in now.keys() - then.keys()}
    )


def _used(out: Path) -> RedteamError:
    return RedteamError(
        f"--out {str(out)!r} is not empty; name a new directory, nothing is overwritten."
    )


def write_results(
    out: Path,
    report: Mapping[str, Any],
    files: Mapping[str, Sequence[Episode]],
    records: Mapping[str, Any] | None = None,
) -> None:
    """Fill the reserved directory at once.

    Args:
        out: The directory.
        report: What :data:`REPORT` holds, plain JSON.
        files: Games by the name of their file.
        records: Further plain JSON by the name of its file.

    Raises:
        RedteamError: If it cannot be written.
    """
    try:
        with write_aside(out.resolve(), shared=True) as folder:
            folder.mkdir()
            for name, episodes in files.items():
                file = folder / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text("".join(f"{x.to_json()}\n" for x in episodes), encoding="ascii")
            for name, record in {**(records or {}), REPORT: report}.items():
                text = json.dumps(record, indent=2, allow_nan=False)
                (folder / name).write_text(f"{text}\n", encoding="ascii")
    except OSError as error:
        raise RedteamError(f"--out {str(out)!r} could not be written: {error}.") from error
