"""The reading of a report: sentences made from its numbers, none of which says more than an interval does."""

from collections.abc import Mapping
from typing import Any

from redteam_env.evaluation import Difference, Rate, Rates
from redteam_env.page.blocks import shown, stored_cell
from redteam_env.page.sources import Kind, Source
from redteam_env.report.tables import MOST_LOST, TITLES, difference_cell, rate_cell

READ = ("attack_success", "over_refusal_rewritten", "over_refusal_raw", "harmful_refusal")
"""The rates that the reading speaks of."""
TOGETHER = "Take attack success and over-refusal together: a defender that refuses everything has 0.00 in the first."
ONE_RUN = "An interval covers the luck of these games, not that of training: another seed may give another run."
TRAINING = (
    "Before and after are a run's own training games: both sides changed, and the seeds are those of training. "
    "For one side against a fixed other on held-out seeds: redteam-env crossplay RUN base --out DIR."
)
UNNAMED = "a judge that its files do not name"
EXACT = frozenset({"apothecary"})
"""Judges that decide by the rules of their world, so that no label is wrong."""


def what(source: Source) -> str:
    """Return in one sentence what a source is."""
    own = source.settings
    record = source.record
    if source.kind is Kind.RUN:
        weights = {"shared": "one adapter for both roles", "bipolicy": "one adapter a role"}
        arrangement = str(own.get("arrangement"))
        how = weights.get(arrangement, arrangement)
        return (
            f"{source.name}: a training run. {_of(own, 'algorithm')} trained {how} of the model "
            f"{_of(own, 'model')} for {len(source.rows)} of {_of(own, 'steps')} steps of "
            f"{_of(own, 'games')} games, on the seeds {_of(own, 'seeds')}, judged by {judge_name(source)}."
        )
    if source.kind is Kind.QUICKSTART:
        return f"{source.name}: a quickstart, two arrangements trained in the world {_of(record, 'world')}."
    if source.kind is Kind.BENCH:
        cells = record.get("cells")
        number = len(cells) if isinstance(cells, list) else 0
        return f"{source.name}: a leaderboard of {number} cells, judged by {judge_name(source)}."
    if source.kind is Kind.EXPERIMENT:
        return f"{source.name}: an experiment with {len(source.record)} claims."
    pairs = [f"{group.attacker} against {group.defender}" for group in source.games]
    told = f": {shown(pairs[0])}" if len(pairs) == 1 else ""
    return f"{source.name}: {source.kind}{told}, judged by {judge_name(source)}."


def judge_name(source: Source) -> str:
    """Return the judge of a source."""
    judge = source.record.get("judge")
    if isinstance(judge, Mapping):
        judge = judge.get("name")
    return shown(judge or source.settings.get("judge") or UNNAMED, 120)


def smoke_only(source: Source) -> bool:
    """Whether a source's judge is good for smoke runs only."""
    judge = source.record.get("judge")
    return isinstance(judge, Mapping) and judge.get("smoke_only") is True


def calibration(source: Source) -> list[str]:
    """Return what is known of a judge's errors, a sentence a question."""
    if judge_name(source) == UNNAMED:
        return ["-"]
    if judge_name(source) in EXACT:
        return ["exact: the rules of the world decide"]
    result = source.record.get("result")
    known = result.get("calibration") if isinstance(result, Mapping) else None
    fields = known.get("fields") if isinstance(known, Mapping) else None
    if not isinstance(fields, Mapping) or not fields:
        return ["not stored here, so nothing is corrected for the judge's errors"]
    return [f"{shown(name, 60)}: {_shares(own)}" for name, own in fields.items()]


def lost(name: str, rates: Rates) -> str:
    """Return how many games are in no rate."""
    return f"{name}: {rates.void} of {rates.games} games are void, {rates.lost} void or forfeited."


def too_many_lost(rates: Rates) -> bool:
    """Whether so many games are void or forfeited that a reader must be warned."""
    return rates.lost_share is not None and rates.lost_share > MOST_LOST


def moved(rate: str, before: Rate, after: Rate, ends: tuple[str, str]) -> str:
    """Return whether two independent rates tell of a change: only intervals that lie apart do.

    Args:
        rate: Which rate.
        before: In the first games.
        after: In the last games.
        ends: What to call these games.
    """
    title = TITLES[rate]
    if before.value is None or after.value is None:
        return f"{title}: there are no games to tell it by."
    values = (
        f"{title}: {rate_cell(before).plain} in {ends[0]}, {rate_cell(after).plain} in {ends[1]}"
    )
    if after.interval.high < before.interval.low:
        return f"{values}. The intervals lie apart: it fell."
    if after.interval.low > before.interval.high:
        return f"{values}. The intervals lie apart: it rose."
    return f"{values}. The intervals overlap: these games do not tell whether it changed."


def differs(rate: str, found: Difference, names: tuple[str, str]) -> str:
    """Return whether a paired difference is told from 0.

    Args:
        rate: Which rate.
        found: The second less the first, on the same games.
        names: The two that are compared.
    """
    title = TITLES[rate]
    if found.value is None:
        return f"{title}: there are no games to tell it by."
    text = f"{title}: {names[1]} less {names[0]} is {difference_cell(found).plain}"
    if found.interval.high < 0:
        return f"{text}, below 0: lower on these games."
    if found.interval.low > 0:
        return f"{text}, above 0: higher on these games."
    return f"{text}. The interval holds 0: the two are not told apart."


def _of(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return (
        "an unknown number" if value is None and name in {"steps", "games"} else shown(value, 120)
    )


def _shares(own: Any) -> str:
    if not isinstance(own, Mapping):
        return "not readable"
    parts = [f"{x} {stored_cell(own.get(x))}" for x in ("sensitivity", "specificity")]
    return ", ".join(parts)
