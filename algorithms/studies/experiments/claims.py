"""The papers' claims: what each predicts in this world, and what was measured.

The plan turns each claim into one number, its primary contrast, and fixes which sign it predicts. Whether
the number is 0 is tested by Student's two-sided t test over training seeds: of the differences of runs of
the same seed, or, for a claim about one arm, of its runs' values. Holm's correction is over the claims of
the plan; one whose part was not run counts among them as if its p value were 1. *Supported*: the corrected
p value is below :data:`LEVEL`, and the sign is the predicted one. *Contradicted*: it is the other one.
*Undecided*: the p value is not below it; how large a number would have been found is said beside it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from algorithms.studies.experiments.analysis import NUMBERS, Figure, arms_of, contrast
from algorithms.studies.experiments.config import Claim, Experiment
from redteam_env.evaluation.power import detectable_mean
from redteam_env.evaluation.run_means import holm, t_test

LEVEL = 0.05
SUPPORTED, CONTRADICTED, UNDECIDED, NOT_RUN = (
    "supported",
    "contradicted",
    "undecided",
    "not run",
)


def judge_claims(
    experiment: Experiment, figures: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Return every claim of a plan with what was measured and a verdict.

    Args:
        experiment: The plan.
        figures: The figures of each part that was run.

    Returns:
        A record for each claim by its name. ``detectable`` of an undecided one is the smallest number that
        would have been found 8 times in 10 at the level that Holm's correction left it; runs that do not
        scatter have none.
    """
    measured = {
        name: found
        for name, claim in experiment.claims.items()
        if (found := number(claim, figures.get(claim.part, {}))) is not None
    }
    names = list(experiment.claims)
    tested = {x: t_test(found["values"]) for x, found in measured.items()}
    raw = [1.0 if (p := tested.get(x)) is None else p for x in names]
    corrected = dict(zip(names, holm(raw), strict=True))
    left = len(names) - sum(p < LEVEL for p in corrected.values())
    records = {}
    for name, claim in experiment.claims.items():
        record: dict[str, Any] = {
            "paper": claim.paper,
            "text": claim.text,
            "part": claim.part,
            "measure": claim.measure,
            "contrast": " - ".join(claim.arms),
            "sign": claim.sign,
            "verdict": NOT_RUN,
        }
        if name in measured:
            found = measured[name]
            record |= {
                "value": found["mean"],
                "interval": found["interval"],
                "runs": len(found["values"]),
                "p": tested[name],
                "p_holm": corrected[name],
                "verdict": _verdict(claim, found["mean"], corrected[name]),
            }
            deviation = float(np.std(found["values"], ddof=1))
            if record["verdict"] == UNDECIDED and deviation:
                record["detectable"] = detectable_mean(
                    deviation, len(found["values"]), level=LEVEL / left
                )
        records[name] = record
    return records


def number(claim: Claim, figures: Mapping[str, Any]) -> Figure | None:
    """Return a claim's number with the values of its runs; ``None`` if fewer than two runs have it.

    Args:
        claim: The claim.
        figures: The figures of its part; empty if that was not run.
    """
    arms = arms_of(figures, NUMBERS[claim.measure])
    if len(claim.arms) > 1:
        return contrast(arms, claim.arms[0], claim.arms[1])
    found = arms.get(claim.arms[0])
    return found if found is not None and len(found["values"]) > 1 else None


def _verdict(claim: Claim, value: float, p_holm: float) -> str:
    if p_holm >= LEVEL:
        return UNDECIDED
    return SUPPORTED if (value > 0) == (claim.sign > 0) else CONTRADICTED
