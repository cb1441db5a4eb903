"""What attack success did while the arms of a part were trained: mean curves, and how many runs had a race."""

from collections.abc import Mapping, Sequence
from typing import Any

from algorithms.studies.experiments.config import AUC, Experiment
from algorithms.studies.quickstart.race import LEAST, WINDOW, race_of, smoothed
from redteam_env.report import Curve, curves_svg, mean
from redteam_env.worlds.apothecary.rates import ATTACK_SUCCESS, form_rate
from redteam_env.worlds.apothecary.suites import HIDDEN

ATTACKS, HIDES = "attack success", "rewrites that hide the name"
RACED = (
    f"The race, in training (means of {WINDOW} steps; thick: mean over seeds, thin: each run). It counts as a fall or "
    f"a rise where the curve of a run turns by {LEAST:.2f} or more."
)


def races(records: Mapping[str, Any]) -> dict[str, Any]:
    """Return what happened in the runs of each arm.

    Args:
        records: The records of the part's runs, by ``arm-seed``.

    Returns:
        For each arm the mean curves over its runs, smoothed, and in how many of its ``runs`` attack success
        ``fell``, then ``rose`` again, and ``fell_again``.
    """
    found = {}
    for arm, curves in _by_arm(records).items():
        happened = [race_of(x) for x in curves[ATTACKS]]
        found[arm] = {
            "runs": len(happened),
            **{
                what: sum(getattr(x, what) for x in happened)
                for what in ("fell", "rose", "fell_again")
            },
            "curves": {title: smoothed(_mean(every)) for title, every in curves.items()},
        }
    return found


def raced(experiment: Experiment, parts: Mapping[str, Any]) -> tuple[str, Sequence[str]] | None:
    """Return the part and the arms whose race is shown: those of the first claim about robustness.

    Args:
        experiment: The experiment.
        parts: The parts that were run.
    """
    claims = (x for x in experiment.claims.values() if x.measure == AUC and x.part in parts)
    return next(((x.part, x.arms) for x in claims), None)


def race_svg(records: Mapping[str, Any], arms: Sequence[str]) -> str:
    """Return the curves of some arms as an SVG image: their means, and each run.

    Args:
        records: The records of the part's runs, by ``arm-seed``.
        arms: The arms.
    """
    every = {arm: x for arm, x in _by_arm(records).items() if arm in arms}
    runs = {
        title: {arm: [smoothed(x) for x in every[arm][title]] for arm in arms if arm in every}
        for title in (ATTACKS, HIDES)
    }
    means = {
        title: {arm: smoothed(_mean(every[arm][title])) for arm in curves}
        for title, curves in runs.items()
    }
    return curves_svg(means, f"training step (means of {WINDOW})", runs=runs)


def _by_arm(records: Mapping[str, Any]) -> dict[str, dict[str, list[Curve]]]:
    found: dict[str, dict[str, list[Curve]]] = {}
    for name, record in records.items():
        curves = found.setdefault(name.rpartition("-")[0], {ATTACKS: [], HIDES: []})
        curves[ATTACKS].append(record["curve"][f"game/{ATTACK_SUCCESS}"])
        forms = zip(*(record["curve"][f"game/{form_rate(x)}"] for x in HIDDEN), strict=True)
        # a rewrite hides a name in one form at most
        curves[HIDES].append([None if None in x else sum(x) for x in forms])
    return found


def _mean(curves: Sequence[Curve]) -> list[float | None]:
    longest = max(map(len, curves))
    return [mean([x[k] for x in curves if k < len(x)]) for k in range(longest)]
