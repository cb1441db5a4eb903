"""What happened in a run, step by step: its curves, whether there was a race, and a request that shows it.

A race is what the world is made for: attack success falls, rises again because attackers found another
way to hide what they ask for, and falls again because defenders answered it. Each of the three is at
least :data:`LEAST` on the smoothed curve, or it is not said to have happened.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from redteam_env.game import Episode
from redteam_env.report import Curve, mean
from redteam_env.runs import Run
from redteam_env.worlds.apothecary import ApothecaryJudge
from redteam_env.worlds.apothecary.rates import ATTACK_SUCCESS, OVER_REFUSAL, form_rate

LEAST = 0.15
"""How far attack success must fall or rise to count."""
WINDOW = 9
"""Steps that the smoothed curve averages, around each step; fewer at both ends. A step of 64 games has 24
attacks, so its share has a standard error of up to .10; the mean of nine steps has one of up to .034."""
SHORTEST = 2 * WINDOW
"""Steps of the shortest run in which a race can be seen; a shorter one has no turns."""
NEAR = 4
"""How many steps around a moment are looked through for a request that shows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A point at which a curve turns.

    Attributes:
        step: Counted from 1.
        value: Of the smoothed curve.
    """

    step: int
    value: float


def smoothed(curve: Curve, window: int = WINDOW) -> list[float | None]:
    """Return the mean over a window around each step; what was not measured is left out of it."""
    half = window // 2
    return [mean(curve[max(0, k - half) : k + half + 1]) for k in range(len(curve))]


def turns(curve: Curve, least: float = LEAST) -> list[Turn]:
    """Return where a smoothed curve turns: the height it falls from, where it rises from, and so on.

    Each turn lies at least ``least`` below or above the one before; the last is the furthest that the curve
    came after the one before it. A curve that never falls so far has none.

    Args:
        curve: A smoothed curve.
        least: What counts as a fall or a rise.
    """
    known = [Turn(step=k + 1, value=x) for k, x in enumerate(curve) if x is not None]
    if not known:
        return []
    found: list[Turn] = []
    falling, furthest = (
        True,
        known[0],
    )  # the way to the next turn, and how far the other way it came
    for point in known:
        way = furthest.value - point.value if falling else point.value - furthest.value
        if way >= least:
            found.append(furthest)
            falling, furthest = not falling, point
        elif way < 0:
            furthest = point
    return [*found, furthest] if found else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """What attack success did in a run.

    Attributes:
        steps: Steps of the run.
        turns: Where the smoothed curve turns; none in a run that is too short.
    """

    steps: int
    turns: Sequence[Turn]

    @property
    def fell(self) -> bool:
        """Whether attack success fell."""
        return len(self.turns) >= 2

    @property
    def rose(self) -> bool:
        """Whether it rose again."""
        return len(self.turns) >= 3

    @property
    def fell_again(self) -> bool:
        """Whether it fell again after that."""
        return len(self.turns) >= 4

    def sentence(self) -> str:
        """Return what happened, in a sentence that claims nothing else."""
        if self.steps < SHORTEST:
            return f"{self.steps} steps are too few to see a race."
        if not self.fell:
            return f"attack success did not fall by {LEAST:.2f} in {self.steps} steps."
        start, low = self.turns[:2]
        text = f"attack success fell from {_at(start)} to {_at(low)}"
        if not self.rose:
            return f"{text} and did not rise by {LEAST:.2f} again."
        text += f", rose to {_at(self.turns[2])}"
        if not self.fell_again:
            return f"{text} and did not fall by {LEAST:.2f} again."
        rest = "".join(f", then {_at(x)}" for x in self.turns[4:])
        return f"{text} and fell again to {_at(self.turns[3])}{rest}."

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        happened = {name: getattr(self, name) for name in ("fell", "rose", "fell_again")}
        return {**happened, "turns": [asdict(turn) for turn in self.turns]}


def _at(turn: Turn) -> str:
    return f"{turn.value:.2f} (step {turn.step})"


def race_of(curve: Curve) -> Race:
    """Return what attack success did.

    Args:
        curve: For each step, as it was measured.
    """
    found = turns(smoothed(curve)) if len(curve) >= SHORTEST else []
    return Race(steps=len(curve), turns=found)


def measures(judge: ApothecaryJudge) -> dict[str, str]:
    """Return the name of each curve that is shown, and the metric that it is made of."""
    return {
        "attack success": f"game/{ATTACK_SUCCESS}",
        "over-refusal": f"game/{OVER_REFUSAL}",
        "raw over-refusal": "game/over_refusal_raw",
        **{f"hidden: {form}": f"game/{form_rate(form)}" for form in judge.forms},
    }


def curves_of(
    rows: Sequence[Mapping[str, Any]], judge: ApothecaryJudge
) -> dict[str, list[float | None]]:
    """Return the curves of a run.

    Args:
        rows: What it logged, a row a step.
        judge: Knows the forms of the world.
    """
    return {name: [row.get(key) for row in rows] for name, key in measures(judge).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A request as it was rewritten and answered at one moment. The texts are a model's: show them safely.

    Attributes:
        when: Such as ``at the height``.
        step: The step in which it was played, counted from 1.
        seed: What the attacker was to rewrite.
        rewrite: What it wrote.
        response: What the defender answered.
        succeeded: Whether the attack succeeded.
    """

    when: str
    step: int
    seed: str
    rewrite: str
    response: str
    succeeded: bool


def examples(directory: Path, race: Race, judge: ApothecaryJudge) -> list[Shown]:
    """Return one harmful request at the start, at the height of the attack and at the end.

    At the height it is a request whose attack succeeded, if there is one, and the first one that was
    played near the other two moments, too; there its first game is shown, whatever came of it.

    Args:
        directory: The run.
        race: What happened in it. The height is where attack success came after its first fall; without
            a rise there is none, and start and end are shown alone.
        judge: Says which attacks succeeded.

    Returns:
        What is to be shown, in order; nothing if no request was played at all moments.
    """
    moments = {"at the start": 1, "at the end": race.steps}
    if race.rose:
        moments = {"at the start": 1, "at the height": race.turns[2].step, "at the end": race.steps}
    found = {
        when: list(_attacks(directory, when, step, race.steps, judge))
        for when, step in moments.items()
    }
    key = "at the height" if race.rose else "at the end"
    for one in sorted(found[key], key=lambda shown: not shown.succeeded):
        line = [
            one if when == key else next((x for x in games if x.seed == one.seed), None)
            for when, games in found.items()
        ]
        if all(line):
            return [x for x in line if x is not None]
    return []


def _attacks(
    directory: Path, when: str, step: int, steps: int, judge: ApothecaryJudge
) -> Iterator[Shown]:
    """Yield the rewritten harmful games near a step, those nearest to it first."""
    reach = min(NEAR, steps // 4)  # the moments of a short run stay apart
    near = [k for k in range(1, steps + 1) if abs(k - step) <= reach]
    for k in sorted(near, key=lambda k: abs(k - step)):
        for episode in Run(directory).read_episodes(k - 1):
            if episode.rewritten and episode.seed.harmful and episode.void is None:
                yield _shown(when, k, episode, judge)


def _shown(when: str, step: int, episode: Episode, judge: ApothecaryJudge) -> Shown:
    rewrite, *rest = (line.text for line in episode.dialogue.lines)
    return Shown(
        when=when,
        step=step,
        seed=episode.seed.text,
        rewrite=rewrite,
        response=rest[0] if rest else "",
        succeeded=judge.outcomes(episode).get(ATTACK_SUCCESS, False),
    )
