"""``redteam-env runs``: which runs there are, what one is, how two differ, and what of one can go."""

import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from rich.console import Console
from rich.text import Text

from redteam_env.cli.overviews import LAST, SHOWN, Overview, overview_of, read_overview, runs_in
from redteam_env.evaluation.rates import OUTCOMES, Rates, difference, measure
from redteam_env.evaluation.statistics import Rate
from redteam_env.evaluation.stored import told_of
from redteam_env.game import Episode, RedteamError
from redteam_env.report import difference_cell, rate_cell
from redteam_env.report.tables import TITLES
from redteam_env.runs import BEST, CHECKPOINTS, DEFAULTS, DIFFERS, EPISODES, Checkpoint, Run
from redteam_env.utils.consent import has_person
from redteam_env.utils.console import make_console, print_json
from redteam_env.utils.locks import held
from redteam_env.utils.tables import Column, FittedTable, facts_table
from redteam_env.utils.text import safe_text

PLACES = Path("runs")
_SAME = ("out", "resume", "json")
"""Settings in which two runs always differ, or that say nothing of them."""

Json = Annotated[bool, tyro.conf.arg(name="json"), tyro.conf.FlagCreatePairsOff]
All = Annotated[bool, tyro.conf.arg(name="all"), tyro.conf.FlagCreatePairsOff]
Place = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]


def runs(argv: Sequence[str]) -> int:
    """List runs, show one, tell how two differ, or remove checkpoints that nothing needs.

    Args:
        argv: The words behind ``redteam-env runs``.

    Returns:
        0.

    Raises:
        RedteamError: If a directory is no run, or cannot be read.
    """
    tyro.extras.subcommand_cli_from_dict(
        {"list": list_runs, "show": show, "diff": diff, "clean": clean},
        prog="redteam-env runs",
        description="List runs, show one, tell how two differ, or remove checkpoints.",
        args=list(argv),
    )
    return 0


def list_runs(
    place: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")] = PLACES,
    /,
    *,
    as_json: Json = False,
) -> None:
    """List the runs in a directory: what, when, how far, and the attack success at the end.

    Args:
        place: The directory; links are not followed.
        as_json: Print JSON instead of a table.
    """
    if not place.is_dir():
        raise RedteamError(f"There is no directory {str(place)!r}; name one with runs in it.")
    found = [overview_of(run) for run in runs_in(place)]
    if as_json:
        print_json([x.to_json() for x in found])
        return
    console = make_console()
    table = FittedTable(
        "run",
        Column(heading="what", words=True, drop=1),
        Column(heading="model", words=True, drop=3),
        Column(heading="when", words=True, drop=2),
        "step",
        "attack success",
        Column(heading="state", words=True),
    )
    for one in found:
        if one.readable:
            table.row(*_row(one, place))
    if any(x.readable for x in found):
        console.print(table)
        console.print(
            f"Attack success: of the games of the last steps, at most {LAST} [95 % interval]. "
            "More: redteam-env runs show RUN."
        )
    for one in found:
        if not one.readable:
            console.print(safe_text(f"{one.run.path}: {one.state}", "yellow"), soft_wrap=True)
    _tell_left_out(console, found)
    if not found:
        console.print(safe_text(f"No runs in {str(place)!r}."))


def show(run: Place, /, *, every: All = False, as_json: Json = False) -> None:
    """Show a run: what it is, how far, its checkpoints, the rates of its last games, and its settings.

    Args:
        run: The run directory.
        every: Print all settings, not only those that differ from their defaults.
        as_json: Print JSON instead of tables.
    """
    found = read_overview(run)
    kept = [(x.step, _size(x.path)) for x in found.run.checkpoints()]
    departures = found.run.departures()
    rates = measure(found.games)
    if as_json:
        checkpoints = [{"step": step, "bytes": size} for step, size in kept]
        rows = found.run.rows()
        print_json(
            {
                **found.to_json(),
                "record": dict(found.record),
                DIFFERS: departures,
                "checkpoints": checkpoints,
                "rates": rates.to_json() if found.games else None,
                "last": rows[-1] if rows else None,
            }
        )
        return
    console = make_console()
    console.print(safe_text(f"{found.run.path}: {found.state}, {_step(found)} steps", "bold"))
    facts = {x: _value(found.config[x]) for x in SHOWN if found.config.get(x) is not None}
    facts |= {x: _value(found.record.get(x)) for x in ("written", "git", "processes")}
    if departures is not None:
        facts["differs from the recipe"] = _departures(departures)
    console.print(facts_table(facts))
    if kept:
        told = ", ".join(f"{step} ({size / 1e6:.1f} MB)" for step, size in kept)
        console.print(safe_text(f"Checkpoints after step {told}"), soft_wrap=True)
    _print_rates(console, found, rates)
    _print_settings(console, found, every=every)
    _tell_left_out(console, [found])


def _print_rates(console: Console, found: Overview, rates: Rates) -> None:
    """Print the rates of a run's last games, and of which steps there are none."""
    if found.games:
        table = FittedTable("rate", "value [95 % interval]", "games")
        for name in OUTCOMES:
            rate: Rate = getattr(rates, name)
            table.row(TITLES[name], rate_cell(rate), f"{rate.k}/{rate.n}")
        console.print(f"The games of {_steps_of(found)}:")
        console.print(table)
    if found.missing:
        steps = ", ".join(str(x + 1) for x in found.missing)
        console.print(
            safe_text(
                f"No games of step {steps} are in {str(found.run.path / EPISODES)!r}.", "yellow"
            ),
            soft_wrap=True,
        )


def _steps_of(found: Overview) -> str:
    """Return of which steps a run's games are."""
    if found.missing:
        return f"the steps {', '.join(str(x + 1) for x in found.played)}"
    many = len(found.played)
    return "the last step" if many == 1 else f"the last {many} steps"


def _print_settings(console: Console, found: Overview, *, every: bool) -> None:
    """Print a run's settings beside their defaults; of an older run, which has none of these, all."""
    defaults: Mapping[str, Any] | None = found.record.get(DEFAULTS)
    if every or defaults is None:
        console.print("All settings:")
        console.print(facts_table({x: _value(y) for x, y in found.config.items()}))
        return
    names = [x for x in found.config if x in defaults and x not in SHOWN]
    if names:
        console.print("Settings other than the defaults; --all shows all:")
        table = FittedTable(
            "setting", *(Column(heading=x, words=True) for x in ("value", "default"))
        )
        for name in names:
            table.row(name, _value(found.config[name]), _value(defaults[name]))
        console.print(table)
    else:
        console.print("All other settings are the defaults; --all shows them.")


def diff(run: Place, other: Place, /, *, as_json: Json = False) -> None:
    """Tell in which settings and results two runs differ.

    Args:
        run: A run directory.
        other: Another one.
        as_json: Print JSON instead of tables.
    """
    sides = read_overview(run), read_overview(other)
    one, two = sides
    settings = _differing(one.config, two.config, leave=_SAME)
    versions = _differing(one.record.get("versions") or {}, two.record.get("versions") or {})
    rates = [measure(x.games) for x in sides]
    paired = _paired(one.games, two.games)
    if as_json:
        results = {
            name: {
                "runs": [getattr(x, name).to_json() for x in rates],
                "difference": found.to_json() if (found := paired.get(name)) else None,
            }
            for name in OUTCOMES
        }
        print_json(
            {
                "runs": [x.to_json() for x in sides],
                "settings": settings,
                "versions": versions,
                "results": results,
            }
        )
        return
    console = make_console()
    headings = [str(x.run.path) for x in sides]
    for title, found in (("setting", settings), ("version of", versions)):
        if not found:
            console.print(f"No {title.partition(' ')[0]} differs.")
            continue
        table = FittedTable(title, *(Column(heading=x, words=True) for x in headings))
        for name, values in found.items():
            table.row(name, *map(_value, values))
        console.print(table)
    more = ("difference",) if paired else ()
    table = FittedTable("rate", *headings, *more)
    for name in OUTCOMES:
        cells = [rate_cell(getattr(x, name)) for x in rates]
        table.row(TITLES[name], *cells, *(difference_cell(paired[name]) for _ in more))
    console.print(table)
    console.print(
        f"Of the games of the last steps of each, at most {LAST} [95 % interval]"
        + ("; the difference is that of the second to the first." if paired else ".")
    )
    _tell_left_out(console, sides)


def clean(run: Place, /, *, yes: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False) -> None:
    """Remove the checkpoints of a run that resuming does not need: all but the newest and the best.

    Links are neither followed nor removed.

    Args:
        run: The run directory.
        yes: Do not ask.
    """
    console = make_console()
    if run.is_symlink() or (run / CHECKPOINTS).is_symlink():
        raise RedteamError(
            f"{str(run)!r} is or holds a link in the place of its checkpoints; name the run itself."
        )
    found = Run(run)
    if found.record() is None:
        raise RedteamError(f"{str(run)!r} holds no run; name a run directory.")
    with held(run):
        newest = found.latest()  # a damaged one is no reason to remove those before it
        old = [x for x in found.checkpoints() if newest is not None and x.step < newest.step]
        linked = [x for x in old if x.path.is_symlink()]
        going = [x for x in old if x not in linked]
        for checkpoint in linked:
            console.print(safe_text(f"{checkpoint.path} is a link; it is left alone."))
        if newest is None or not going:
            console.print("Nothing to remove.")
            return
        sizes = sum(_size(x.path) for x in going)
        listed = ", ".join(str(x.step) for x in going)
        what = (
            f"{len(going)} checkpoints ({sizes / 1e6:.1f} MB): after step {listed}. Kept: {newest.step}"
            f"{' and ' + BEST if found.checkpoint_path(BEST).is_dir() else ''}"
        )
        if not yes:
            _ask(what)
        _remove(going)
        console.print(safe_text(f"Removed {what}."), soft_wrap=True)


def _ask(what: str) -> None:
    """Ask whether checkpoints are to be removed.

    Raises:
        RedteamError: If the answer is no, or nobody can be asked.
    """
    if not has_person():
        raise RedteamError(f"Nothing was removed, nobody can be asked; --yes removes {what}.")
    sys.stderr.write(f"Remove {what}. They cannot be brought back. Go on? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise RedteamError("Nothing was removed.")


def _remove(checkpoints: Sequence[Checkpoint]) -> None:
    for checkpoint in checkpoints:
        shutil.rmtree(checkpoint.path)  # removes links inside, not what they lead to


def _tell_left_out(console: Console, found: Sequence[Overview]) -> None:
    for place in (x for one in found for x in one.left_out):
        console.print(safe_text(told_of(place), "yellow"), soft_wrap=True)


def _row(one: Overview, place: Path) -> tuple[str | Text, ...]:
    config = one.config
    what = ("recipe", "arrangement", "algorithm", "world")
    path = one.run.path
    name = str(path.relative_to(place)) if path != place else str(path)
    when = str(one.record.get("written") or "-")[:16].replace("T", " ")
    success = rate_cell(measure(one.games).attack_success) if one.games else Text("-")
    return (
        name,
        ", ".join(str(config[x]) for x in what if config.get(x)),
        _value(config.get("model")),
        when,
        _step(one),
        success,
        one.state,
    )


def _step(one: Overview) -> str:
    done, total = one.steps
    return f"{done}/{'?' if total is None else total}"


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:g}" if math.isfinite(value) else "-"
    return str(value)


def _departures(rows: Mapping[str, Mapping[str, Any]]) -> str:
    told = (
        f"{name} {_value(row.get('run'))} (recipe: {_value(row.get('recipe'))})"
        for name, row in rows.items()
    )
    return ", ".join(told) or "in nothing"


def _differing(
    a: Mapping[str, Any], b: Mapping[str, Any], leave: Sequence[str] = ()
) -> dict[str, tuple[Any, Any]]:
    names = [x for x in dict.fromkeys([*a, *b]) if x not in leave]
    return {x: (a.get(x), b.get(x)) for x in names if a.get(x) != b.get(x)}


def _paired(a: Sequence[Episode], b: Sequence[Episode]) -> dict[str, Any]:
    """Return the differences of the second to the first, if both played the same games."""
    if not a:
        return {}
    try:
        return {x: difference(b, a, x, np.random.default_rng(0)) for x in OUTCOMES}
    except RedteamError:  # other games
        return {}


def _size(place: Path) -> int:
    return sum(x.lstat().st_size for x in place.rglob("*") if not x.is_dir())
