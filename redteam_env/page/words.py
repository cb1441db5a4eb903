"""The reading of a report: sentences made from its numbers, none of which says more than an interval does."""

from collections.abc import Mapping, Sequence
from typing import Any

from redteam_env.evaluation import Difference, Rate
from redteam_env.page.blocks import interval_of, shown, stored_cell
from redteam_env.page.sources import Kind, Source
from redteam_env.report.tables import MOST_LOST, TITLES, difference_cell, rate_cell
from redteam_env.worlds import is_invented, world_options

READ = ("attack_success", "over_refusal_rewritten", "over_refusal_raw", "harmful_refusal")
"""The rates that the reading speaks of."""
TOGETHER = "Take attack success and over-refusal together: a defender that refuses everything has 0.00 in the first."
ONE_RUN = "An interval covers the luck of these games, not that of training: another seed may give another run."
MANY = "Of comparisons that nothing is behind, one in twenty is told from 0 by luck."
TRAINING = (
    "Before and after are a run's own training games: both sides changed, and the seeds are those of training. "
    "For one side against a fixed other on held-out seeds: redteam-env crossplay RUN base --out DIR."
)
UNNAMED = "a judge that its files do not name"
EXACT = frozenset({"apothecary"})
"""Judges that decide by the rules of the world of their name, so that on its seeds no label is wrong."""


_QUESTIONS = {
    "prompt_harmful": "harmful requests",
    "response_refusal": "refusals",
    "response_harmful": "harmful answers",
}


def what(source: Source) -> str:
    """Return in one sentence what a source is."""
    record = source.record
    judged = f"judged by {short_judge(source)}"
    if source.kind is Kind.RUN:
        return f"{source.name}: {_training(source, judged)}."
    if source.kind is Kind.QUICKSTART:
        return f"{source.name}: a quickstart, two arrangements trained in the world {_of(record, 'world')}."
    if source.kind is Kind.BENCH:
        cells = record.get("cells")
        number = len(cells) if isinstance(cells, list) else 0
        return f"{source.name}: a leaderboard of {number} cells, {judged}."
    if source.kind is Kind.EXPERIMENT:
        return f"{source.name}: an experiment with {len(source.record)} claims."
    if source.kind is Kind.SUITES:
        return f"{source.name}: {_suites(source)}, {judged}."
    seats = [list(dict.fromkeys(x)) for x in zip(*pairs(source), strict=True)]
    if seats and max(map(len, seats)) > 1:
        sides = f"{_counted(seats[0], 'attacker')} against {_counted(seats[1], 'defender')}"
    else:
        sides = f"{seats[0][0]} against {seats[1][0]}" if seats else "no games"
    names = {Kind.CROSSPLAY: "a cross-play", Kind.REJUDGED: "games that were judged again"}
    return f"{source.name}: {names.get(source.kind, 'an evaluation')}, {sides}, {judged}."


def _training(source: Source, judged: str) -> str:
    """Return what was trained in a run, as far as it is known."""
    if not source.record:
        return f"metrics of {len(source.rows)} steps of a training run"
    own = source.settings
    weights = {
        "shared": "one adapter for both roles",
        "bipolicy": "one adapter for each role",
    }
    arrangement = str(own.get("arrangement"))
    how = weights.get(arrangement, shown(arrangement, 60))
    return (
        f"a training run. {_of(own, 'algorithm')} trained {how} of the model {_of(own, 'model')} for "
        f"{len(source.rows)} of {_of(own, 'steps')} steps of {_of(own, 'games')} games, on the seeds "
        f"{_of(own, 'seeds')}, {judged}"
    )


def pairs(source: Source) -> list[tuple[str, str]]:
    """Return who attacked and who defended in each group of games."""
    return [(shown(x.attacker, 60), shown(x.defender, 60)) for x in source.games]


def judge_name(source: Source) -> str:
    """Return the judge of a source."""
    judge = source.record.get("judge")
    if isinstance(judge, Mapping):
        judge = judge.get("name")
    judge = judge or source.settings.get("judge")
    if not judge and source.settings.get("world") in EXACT:
        judge = source.settings["world"]
    return shown(judge or UNNAMED)


def short_judge(source: Source) -> str:
    """Return the judge without what it is made of."""
    return judge_name(source).partition(" (")[0]


def seeds_of(source: Source) -> Any:
    """Return the seeds of a source's games, as its settings name them."""
    if source.kind is Kind.BENCH:
        return source.settings.get("source") or source.settings.get("world")
    return source.settings.get("seeds")


def smoke_only(source: Source) -> bool:
    """Whether a source's judge is good for smoke runs only."""
    judge = source.record.get("judge")
    return isinstance(judge, Mapping) and judge.get("smoke_only") is True


def is_exact(source: Source) -> bool:
    """Whether a source's judge cannot err: a world's own, on that world's seeds and on nothing else."""
    name = judge_name(source)
    world = source.settings.get("world") or source.record.get("world")
    if name not in EXACT or world != name:  # a stranger's world would be looked up, which runs code
        return False
    seeds = seeds_of(source) or world_options(name).get("seeds")
    return is_invented(name, seeds) and all(x.seed.source == name for x in source.episodes)


def calibration(source: Source) -> str:
    """Return what is known of a judge's errors."""
    if is_exact(source):
        return "exact: the rules of the world decide"
    result = source.record.get("result")
    places = [source.record, result]
    if isinstance(result, Mapping) and isinstance(cells := result.get("cells"), list):
        places += cells[:1]  # one judge has judged all pairings
    known = next(
        (x["calibration"] for x in places if isinstance(x, Mapping) and x.get("calibration")), None
    )
    fields = known.get("fields") if isinstance(known, Mapping) else None
    if not isinstance(fields, Mapping) or not fields:
        return "its errors are not known here, so nothing is corrected for them"
    return "; ".join(
        f"{_QUESTIONS.get(name, shown(name, 60))} {_shares(own)}" for name, own in fields.items()
    )


def lost_many(lost: int, games: int) -> bool:
    """Whether so many games are void or forfeited that a reader must be warned."""
    return games > 0 and lost / games > MOST_LOST


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
    values = f"{rate_cell(before).plain} in {ends[0]}, {rate_cell(after).plain} in {ends[1]}"
    ends_of_words = ("it fell", "it rose", "these games do not tell whether it changed")
    return f"{title}: {values}. {_apart(before, after, ends_of_words)}"


def rewriting(title: str, raw: Rate, rewritten: Rate) -> str | None:
    """Return what rewriting did to a rate, against other requests that were asked as they are.

    Args:
        title: What happened, such as attack success.
        raw: On raw requests.
        rewritten: On rewritten ones.
    """
    if raw.value is None or rewritten.value is None:
        return None
    values = (
        f"{rate_cell(raw).plain} on raw requests, {rate_cell(rewritten).plain} on rewritten ones"
    )
    told = (
        "lower on rewritten ones",
        "higher on rewritten ones",
        "rewriting is not told to matter",
    )
    return f"{title}: {values}. {_apart(raw, rewritten, told)}"


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


def against_first(source: Source, rates: Sequence[str]) -> list[str]:
    """Return which defenders of a cross-play are told from its first one, by the stored differences.

    Args:
        source: A cross-play.
        rates: The rates to tell of.
    """
    result = source.record.get("result")
    found = result.get("differences") if isinstance(result, Mapping) else None
    counts: dict[tuple[str, str], dict[str, list[int]]] = {}
    for own in found if isinstance(found, list) else []:
        ends = interval_of(own) if isinstance(own, Mapping) else None
        if ends is None or own.get("rate") not in rates:
            continue
        defenders = counts.setdefault((own["rate"], shown(own.get("against"), 60)), {})
        told = defenders.setdefault(shown(own.get("defender"), 60), [0, 0, 0])
        told[0 if ends.high < 0 else 1 if ends.low > 0 else 2] += 1
    return [_told_from(*key, defenders) for key, defenders in counts.items()]


def _told_from(rate: str, first: str, defenders: Mapping[str, Sequence[int]]) -> str:
    apart = [
        f"{name} lower against {lower} and higher against {higher} of {_counted_of(lower + higher + neither)}"
        for name, (lower, higher, neither) in defenders.items()
        if lower or higher
    ]
    same = [name for name, (lower, higher, _) in defenders.items() if not lower and not higher]
    if same:
        names = ", ".join(same[:6]) + (f" and {len(same) - 6} more" if len(same) > 6 else "")
        apart.append(f"{names} told apart against no attacker")
    return f"{TITLES[rate]}, compared with the defender {first}: {'; '.join(apart)}."


def _counted_of(number: int) -> str:
    return f"{number} attacker{'s' * (number != 1)}"


def leading(source: Source) -> str | None:
    """Return which cell leads a leaderboard, and how many of the others are told to be worse.

    Args:
        source: A leaderboard; the verdicts are those that bench stored.
    """
    cells = source.record.get("cells")
    first = (
        next((x for x in cells if isinstance(x, Mapping)), None)
        if isinstance(cells, list)
        else None
    )
    scores = first.get("scores") if first is not None else None
    if first is None or not isinstance(scores, Mapping) or not scores:
        return None
    score = next(iter(scores))
    verdicts = source.record.get("verdicts")
    every = verdicts.get(score) if isinstance(verdicts, Mapping) else None
    own = f"{first.get('label')}.{first.get('arrangement')}"
    above = below = neither = 0
    for found in every if isinstance(every, list) else []:
        ends = interval_of(found) if isinstance(found, Mapping) else None
        if ends is None or own not in [found.get("first"), found.get("second")]:
            continue
        low, high = (ends.low, ends.high) if found.get("first") == own else (-ends.high, -ends.low)
        above, below = above + (low > 0), below + (high < 0)
        neither += low <= 0 <= high
    title = f"{shown(first.get('label'), 60)}, {shown(first.get('arrangement'), 40)}"
    text = f"{title} has the highest {shown(score, 40).replace('_', ' ')}, {stored_cell(scores[score])}"
    others = above + below + neither
    if not others:
        return f"{text}; no comparisons are stored that tell it from others."
    under = f", below {below}" if below else ""
    return f"{text}; of {others} others it is told to be above {above}{under}, and not told from {neither}."


def _apart(first: Rate, second: Rate, told: tuple[str, str, str]) -> str:
    if second.interval.high < first.interval.low:
        return f"The intervals lie apart: {told[0]}."
    if second.interval.low > first.interval.high:
        return f"The intervals lie apart: {told[1]}."
    return f"The intervals overlap: {told[2]}."


def _suites(source: Source) -> str:
    result = source.record.get("result")
    found = [x for x in result if isinstance(x, Mapping)] if isinstance(result, list) else []
    names = ", ".join(shown(x.get("title"), 60) for x in found[:3]) + (
        " ..." if len(found) > 3 else ""
    )
    suites = f"{len(found)} benchmark suite{'s' * (len(found) != 1)}"
    defender = source.settings.get("defender")
    text = f"{suites} ({names})" if names else suites
    text += f" put to {shown(defender, 60)}" if defender else ""
    if attack := source.settings.get("attack"):
        attempts = shown(source.settings.get("attempts"), 12)
        text += f" under the attack {shown(attack, 60)}, the best of up to {attempts} attempts"
    return text


def _counted(names: Sequence[str], noun: str) -> str:
    return f"the {noun} {names[0]}" if len(names) == 1 else f"{len(names)} {noun}s"


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
