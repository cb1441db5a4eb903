"""Stored games under another judge: nothing is generated again.

A dialogue that several games share, such as a raw request in every column of a cross-play, is judged once.
What the stored verdict paid the seats is not carried over: rejudged games have rates, but no rewards.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from redteam_env.attacks import best
from redteam_env.attacks.resolve import is_attack
from redteam_env.border import judges
from redteam_env.evaluation.agreement import Agreement, agreements
from redteam_env.evaluation.calibration import Calibration
from redteam_env.evaluation.matchup import Matchup, matchup
from redteam_env.evaluation.rates import OUTCOMES, difference, measure
from redteam_env.evaluation.statistics import Difference
from redteam_env.game import Dialogue, Episode, RedteamError, Seed, Verdict
from redteam_env.game.config import BY_LABELS
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
    """

    name: str
    before: Matchup
    after: Matchup
    differences: Mapping[str, Difference]
    agreement: Mapping[str, Agreement]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON without text of any player."""
        before = self.before.to_json()
        del before["smoke_only"]  # the stored games do not tell it of their judge
        return {
            "games": self.name,
            "before": before,
            "after": self.after.to_json(),
            "differences": {name: x.to_json() for name, x in self.differences.items()},
            "agreement": {name: x.to_json() for name, x in self.agreement.items()},
        }


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
    rewrites = [x.content for x in attempts if x.rewritten]
    compared = all(x is not None and x.measure != BY_LABELS for x in rewrites)
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
    calibration: Calibration | None = None,
    seed: int = 0,
) -> Rejudged:
    """Measure stored games under another judge.

    Where a standing attack made the games, each is the best of its attempts as the other judge sees them, and
    the two judges are compared on all attempts. Nothing is corrected then: a judge errs more often in the
    most harmful of several answers than in one.

    Args:
        name: What they are called.
        episodes: The games.
        judge: The other judge.
        verdicts: What it says, from :func:`verdicts_on`.
        seats: Attacker and defender.
        attempts: Of an attack, all attempts.
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
    tried: dict[int, list[Episode]] = {}
    for attempt in attempts:
        tried.setdefault(attempt.group, []).append(under(attempt, verdicts))
    after = [
        replace(best(tried[x.group]), path=x.path)
        if x.rewritten and x.group in tried
        else under(x, verdicts)
        for x in episodes
    ]
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
        differences={
            rate: difference(after, episodes, rate, generator((seed, "bootstrap", rate)))
            for rate in OUTCOMES
        },
        agreement=agreement_on(judged, verdicts, seed=seed),
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
