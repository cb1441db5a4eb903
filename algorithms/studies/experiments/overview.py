"""The page of a report: the verdicts, the race, and a short paragraph on each claim. Numbers speak, nobody else."""

from collections.abc import Iterator, Mapping
from typing import Any

from algorithms.studies.experiments.analysis import NUMBERS, arms_of
from algorithms.studies.experiments.claims import LEVEL, NOT_RUN
from algorithms.studies.experiments.config import (
    AUC,
    AUC_TRAIN,
    BEST_RESPONSE,
    ENTROPY,
    GRADIENT_COSINE,
    MEASURES,
    OWN_PLAY,
    Experiment,
)
from algorithms.studies.experiments.page import TITLES, Figures, p_value, verdicts
from algorithms.studies.experiments.races import RACED, raced
from algorithms.studies.markdown import code, number, plain
from redteam_env.protocols import BASE
from redteam_env.worlds.apothecary.suites import HIDDEN

_BESIDE: Mapping[str, tuple[str, ...]] = {
    AUC: (AUC_TRAIN, *(f"auc_{form}" for form in HIDDEN)),
    AUC_TRAIN: (AUC,),
    BEST_RESPONSE: ("best_response_train",),
    ENTROPY: ("hidden",),
}
"""Which secondary contrasts are told beside a claim's own."""


def overview(
    experiment: Experiment, parts: Mapping[str, Figures], claims: Figures, *, command: str
) -> str:
    """Return the page.

    Args:
        experiment: The experiment.
        parts: The figures of every part that was run.
        claims: Every claim with its verdict.
        command: The command that ran it.
    """
    missing = [name for name in experiment.parts if name not in parts]
    lines = [
        f"# {plain(experiment.name)}",
        "",
        (
            f"Made by {code(command)}; `redteam-env experiment verify` on this directory judges every stored game "
            "again and computes every number again. The plan, in `experiment.json`, was fixed before the runs: one "
            "primary contrast a claim. Unit: the training run; p: Student's t test over seeds, two-sided; "
            f"Holm's correction over the {len(claims)} claims of the plan, at {LEVEL:.2f}. Intervals of 95 % are not "
            "corrected. *Detectable*: the smallest value that would have been found 8 times in 10, at the level "
            "that the correction left an undecided claim."
            + (f" Not run: {plain(', '.join(missing))}." if missing else "")
        ),
        "",
        *verdicts(claims),
    ]
    if (shown := raced(experiment, parts)) is not None:
        lines += ["", "## The race", "", "![The race](race.svg)", "", RACED, ""]
        lines += [" ".join(_raced(parts[shown[0]]["race"], shown[1]))]
    lines += ["", "## Claim by claim", ""]
    for name, claim in claims.items():
        lines += [" ".join(_paragraph(name, claim, parts.get(claim["part"], {}))), ""]
    tables = ", ".join(f"[`{name}/figures.json`]({name}/figures.json)" for name in parts)
    lines += [
        "## Everything else",
        "",
        (
            "[`report.md`](report.md): by form, training substances, contrasts, cross-play, best responses, "
            "capability, parameters, time, and what refusing everything pays. All numbers, with the value of "
            f"every run: {tables}. Every game: `games.parquet` beside them."
        ),
    ]
    return "\n".join(lines) + "\n"


def _raced(race: Figures, arms: Any) -> Iterator[str]:
    for arm in arms:
        if arm in race:
            x = race[arm]
            yield (
                f"{plain(arm)}: of {x['runs']} runs attack success fell in {x['fell']}, then rose again in "
                f"{x['rose']} and fell again in {x['fell_again']}."
            )


def _paragraph(name: str, claim: Figures, figures: Figures) -> Iterator[str]:
    """Yield the sentences on a claim."""
    yield f"**{plain(name.replace('_', ' '))}** ({plain(claim['paper'])}): {plain(claim['text'])}"
    side = "above" if claim["sign"] > 0 else "below"
    yield f"Predicted: {MEASURES[claim['measure']]}, {plain(claim['contrast'])}, {side} 0."
    if claim["verdict"] == NOT_RUN:
        yield "Not run."
        return
    arms = claim["contrast"].split(" - ")
    found = arms_of(figures, NUMBERS[claim["measure"]])
    yield f"Measured: {', '.join(f'{plain(arm)} {number(found[arm])}' for arm in arms)}."
    if len(arms) > 1:
        difference = {"value": claim["value"], "interval": claim["interval"]}
        yield f"Difference {number(difference, sign=True)} over {claim['runs']} seeds."
    yield f"p after correction: {p_value(claim['p_holm'])}, **{claim['verdict']}**."
    if "detectable" in claim:
        yield f"A value of {claim['detectable']:.3f} would have been found 8 times in 10."
    beside = figures["contrasts"].get(claim["contrast"], {})
    told = [
        f"{TITLES[x]} {number(beside[x], sign=True)}"
        for x in _BESIDE.get(claim["measure"], ())
        if x in beside
    ]
    if told:
        yield f"Secondary differences: {', '.join(told)}."
    yield from _aside(claim["measure"], arms, figures)


def _aside(measure: str, arms: list[str], figures: Figures) -> Iterator[str]:
    """Yield what else a reader needs to judge a number."""
    if measure == GRADIENT_COSINE:
        halves = (
            f"{role}'s {number(figures['gradients'][f'{role}_halves'][arms[0]])}"
            for role in ("attacker", "defender")
        )
        yield f"Two halves of one role's batch agree by: {', '.join(halves)}."
    if measure == OWN_PLAY:
        own, stranger = figures["own_play"]["own"], figures["own_play"]["stranger"]
        told = (f"{plain(x)} {number(own[x])} and {number(stranger[x])}" for x in arms)
        yield f"Attack success on the own defender and on a stranger: {'; '.join(told)}."
    if measure == BEST_RESPONSE and BASE in (
        beats := figures["responses"]["heldout"]["fresh - script"]
    ):
        low, high = beats[BASE]["interval"] or (-1.0, 1.0)
        what = "beat" if low > 0 else "are weaker than" if high < 0 else "are not told apart from"
        yield (
            f"On the base fresh attackers {what} the best script: {number(beats[BASE], sign=True)}."
        )
