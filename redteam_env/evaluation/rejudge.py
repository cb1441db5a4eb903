"""Stored games under another judge: nothing is generated again.

A dialogue that several games share, such as a raw request in every column of a cross-play, is judged once.
What the stored verdict paid the seats is not carried over: rejudged games have rates, but no rewards.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from redteam_env.attacks import best
from redteam_env.attacks.resolve import is_attack
from redteam_env.border import judges
from redteam_env.evaluation.agreement import Agreement, agreements
from redteam_env.evaluation.attempts import Bounds, cut_short, ended_by_success
from redteam_env.evaluation.calibration import Calibration
from redteam_env.evaluation.matchup import Matchup, matchup
from redteam_env.evaluation.rates import OUTCOMES, difference, measure
from redteam_env.evaluation.statistics import Difference, Interval, Rate
from redteam_env.game import Dialogue, Episode, RedteamError, Seed, Verdict, goal_reached
from redteam_env.game.faithfulness import by_labels
from redteam_env.protocols import Judge, Progress
from redteam_env.randomness import generator

Asked = tuple[Dialogue, Seed | None]
"""A dialogue, and its seed if the judge is to be told."""
_BATCH = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejudged:
    """Some games under the judge that they were played with, and under another one.

    Attributes:
        name: What the games are, such as a file's name.
        before: As they were judged.
        after: As the other judge judges them.
        differences: For each rate, after minus before, with its interval.
        agreement: How far the two agree on each question.
        attempts: Most attempts at each seed, where a standing attack made the games and that is known.
        bounds: Before and after, between what each rate lies that rests on searches which a success ended
            that is none to that judge.
        differences_within: Between what their differences lie.
        cut: How many searches ended so, to the judge to whom more did.
    """

    name: str
    before: Matchup
    after: Matchup
    differences: Mapping[str, Difference]
    agreement: Mapping[str, Agreement]
    attempts: int | None = None
    bounds: tuple[Mapping[str, Bounds], Mapping[str, Bounds]] = ({}, {})
    differences_within: Mapping[str, Bounds] = field(default_factory=dict)
    cut: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON without text of any player; what is only bounded is null."""
        before, after = self.before.to_json(), self.after.to_json()
        del before["smoke_only"]  # the stored games do not tell it of their judge
        for side, bounds in zip((before, after), self.bounds, strict=True):
            for name, own in bounds.items():
                side["rates"][name] |= {"k": None, "rate": None, **_told(own)}
        differences = {name: x.to_json() for name, x in self.differences.items()}
        for name, own in self.differences_within.items():
            differences[name] |= {"difference": None, **_told(own)}
        return {
            "games": self.name,
            **({"attempts": self.attempts} if self.attempts is not None else {}),
            "before": before,
            "after": after,
            "differences": differences,
            "agreement": {name: x.to_json() for name, x in self.agreement.items()},
        }


def _told(bounds: Bounds) -> dict[str, Any]:
    return {**bounds.to_json(), "interval": bounds.interval.to_json()}


def verdicts_on(
    episodes: Sequence[Episode], judge: Judge, progress: Progress | None = None
) -> dict[Asked, Verdict]:
    """Return a judge's verdict on every dialogue of games that were judged.

    Args:
        episodes: The games.
        judge: The judge.
        progress: Called as ``progress(phase, done, total)``.

    Raises:
        RedteamError: If the judge breaks its protocol.
    """
    told = judges.is_seeded(judge)
    asked = list(dict.fromkeys(_asked(x, told) for x in episodes if x.verdict is not None))
    found: list[Verdict] = []
    for start in range(0, len(asked), _BATCH):
        batch = asked[start : start + _BATCH]
        seeds = [seed for _, seed in batch if seed is not None] if told else None
        found += judges.verdicts(judge, [dialogue for dialogue, _ in batch], seeds=seeds)
        if progress is not None:
            progress("judging", len(found), len(asked))
    return dict(zip(asked, found, strict=True))


def check_read(attempts: Sequence[Episode], judge: Judge) -> None:
    """Check that a judge can tell which of some attempts succeeded.

    Args:
        attempts: Games that are measured by success against their seeds: a suite's, or an attack's.
        judge: The judge.

    Raises:
        RedteamError: If it does not read messages, and some were not compared with their seeds.
    """
    compared = not any(by_labels(x.content) for x in attempts if x.rewritten)
    if not compared and not judges.reads_message(judge):
        raise RedteamError(
            f"The judge {judge.name!r} does not read messages, and these attacks were not compared with their "
            "seeds, so any message that was answered would be a success; name another one with --judge."
        )


def _asked(episode: Episode, told: bool) -> Asked:
    return episode.dialogue, episode.seed if told else None


def _said(episode: Episode, verdicts: Mapping[Asked, Verdict]) -> Verdict:
    known = verdicts.get((episode.dialogue, None))
    return verdicts[episode.dialogue, episode.seed] if known is None else known


def rejudge(
    name: str,
    episodes: Sequence[Episode],
    judge: Judge,
    verdicts: Mapping[Asked, Verdict],
    *,
    seats: tuple[str, str] = ("attacker", "defender"),
    attempts: Sequence[Episode] = (),
    most: int | None = None,
    again: bool = False,
    calibration: Calibration | None = None,
    seed: int = 0,
) -> Rejudged:
    """Measure stored games under another judge.

    Where a standing attack made the games, each is the best of its attempts as the other judge sees them, and
    the two judges are compared on all attempts. Nothing is corrected then: a judge errs more often in the
    most harmful of several answers than in one. A search that ended with what is no success to the other judge
    would have gone on with it: rates that rest on such searches are known within bounds only.

    Args:
        name: What they are called.
        episodes: The games.
        judge: The other judge.
        verdicts: What it says, from :func:`verdicts_on`.
        seats: Attacker and defender.
        attempts: Of an attack, all attempts.
        most: How many it had at each seed, at most; ``None`` if that is not known.
        again: Whether the games were judged again before, by another judge than the attack's.
        calibration: What is known of the other judge.
        seed: Sets the bootstrap's random draws.

    Raises:
        RedteamError: If none of the games was judged.
    """
    compared = [*(x for x in episodes if not (attempts and x.rewritten)), *attempts]
    judged = [x for x in compared if x.verdict is not None]
    if not judged:
        raise RedteamError(
            f"None of the {len(episodes)} games of {name} was judged; nothing to do."
        )
    then: dict[int, list[Episode]] = {}
    for attempt in attempts:
        then.setdefault(attempt.group, []).append(attempt)
    now = {group: [under(x, verdicts) for x in own] for group, own in then.items()}
    after = [
        replace(best(now[x.group]), path=x.path)
        if x.rewritten and x.group in now
        else under(x, verdicts)
        for x in episodes
    ]
    ended = dict(zip(then, ended_by_success([*then.values()], again=again), strict=True))

    def unknown(tried: Mapping[int, Sequence[Episode]]) -> list[int]:
        """Return the places of games whose search would have gone on."""
        cut = {
            group
            for group, own in tried.items()
            if cut_short([goal_reached(x) for x in own], most or len(own) + 1, ended=ended[group])
        }
        return [k for k, x in enumerate(episodes) if x.rewritten and x.group in cut]

    sides = ((episodes, unknown(then)), (after, unknown(now)))
    differences = {
        rate: difference(after, episodes, rate, generator((seed, "bootstrap", rate)))
        for rate in OUTCOMES
    }
    bounds = (_bounds(*sides[0]), _bounds(*sides[1]))
    searched = bool(attempts) or is_attack(seats[0])
    before = Matchup(
        attacker=seats[0],
        defender=seats[1],
        judge=", ".join(dict.fromkeys(x.verdict.judge or "?" for x in judged if x.verdict)),
        smoke_only=False,
        rates=measure(episodes),
        episodes=tuple(episodes),
    )
    return Rejudged(
        name=name,
        before=before,
        after=matchup(after, judge, seats, None if searched else calibration),
        differences=differences,
        agreement=agreement_on(judged, verdicts, seed=seed),
        attempts=most if attempts else None,
        bounds=bounds,
        differences_within={
            rate: _difference_within(rate, sides, seed)
            for rate in OUTCOMES
            if differences[rate].n and (rate in bounds[0] or rate in bounds[1])
        },
        cut=max(len(places) for _, places in sides),
    )


def _bounds(episodes: Sequence[Episode], unknown: Sequence[int]) -> dict[str, Bounds]:
    """Return between what the rates lie that some games of unknown outcome are in."""
    rates, found = measure(episodes), {}
    for name, outcome in OUTCOMES.items():
        own: Rate = getattr(rates, name)
        happened = [x for k in unknown if (x := outcome(episodes[k])) is not None]
        if not own.n or not happened:
            continue
        least = Rate(own.k - sum(happened), own.n)
        most = Rate(least.k + len(happened), own.n)
        found[name] = Bounds(
            least=least.k / own.n,
            most=most.k / own.n,
            interval=Interval(least.interval.low, most.interval.high),
            unknown=len(happened),
        )
    return found


def _difference_within(
    rate: str,
    sides: tuple[tuple[Sequence[Episode], Sequence[int]], tuple[Sequence[Episode], Sequence[int]]],
    seed: int,
) -> Bounds:
    """Return between what the difference of a rate lies, the second side's less the first one's."""
    (before, unknown_then), (after, unknown_now) = sides
    least, most = (
        difference(
            after,
            before,
            rate,
            generator((seed, "bootstrap", rate)),
            instead=(dict.fromkeys(unknown_now, end), dict.fromkeys(unknown_then, not end)),
        )
        for end in (False, True)
    )
    return Bounds(
        least=least.value or 0.0,
        most=most.value or 0.0,
        interval=Interval(least.interval.low, most.interval.high),
        unknown=len({*unknown_then, *unknown_now}),
    )


def agreement_on(
    episodes: Sequence[Episode], verdicts: Mapping[Asked, Verdict], *, seed: int = 0
) -> Mapping[str, Agreement]:
    """Return how far another judge agrees with the stored verdicts, on the games that were judged.

    Args:
        episodes: The games.
        verdicts: What the other judge says, from :func:`verdicts_on`.
        seed: Sets the bootstrap's random draws.
    """
    judged = [(x, x.verdict) for x in episodes if x.verdict is not None]
    return agreements(
        [verdict for _, verdict in judged],
        [_said(x, verdicts) for x, _ in judged],
        [x.seed.text for x, _ in judged],
        seed=seed,
    )


def under(episode: Episode, verdicts: Mapping[Asked, Verdict]) -> Episode:
    """Return a game with another judge's verdict; one that was not judged is not judged now.

    A raw request has the label of its seed, so what the judge leaves open of it voids nothing.

    Args:
        episode: The game.
        verdicts: What the other judge says, from :func:`verdicts_on`.
    """
    if episode.verdict is None:
        return episode
    verdict = _said(episode, verdicts)
    whole = verdict if episode.rewritten else replace(verdict, prompt_harmful=episode.seed.harmful)
    return replace(
        episode,
        verdict=verdict,
        void=whole.void_reason,
        rewards=dict.fromkeys(episode.rewards, 0.0),
        components={seat: {} for seat in episode.components},
        samples=(),
        exchanges=(),
    )
