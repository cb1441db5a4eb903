"""The page of a report, in Markdown: what was run, how to read it, the tables."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from algorithms.studies.experiments.config import Experiment
from algorithms.studies.markdown import cell, code, number, plain, table
from redteam_env.protocols import BASE
from redteam_env.worlds.apothecary.rates import ATTACK_SUCCESS, FAITHFULNESS

Figures = Mapping[str, Any]
_SPLITS = {"train": "training substances", "heldout": "held-out substances"}


def page(
    experiment: Experiment,
    parts: Mapping[str, Figures],
    claims: Sequence[Mapping[str, Any]],
    *,
    command: str,
) -> str:
    """Return the page of a report.

    Args:
        experiment: The experiment.
        parts: The figures of every part that was run.
        claims: Every claim with its verdict.
        command: The command that ran it.
    """
    lines = [f"# {plain(experiment.name)}", "", *_how(experiment, parts, command)]
    for name, figures in parts.items():
        lines += ["", f"## {plain(name)}", "", plain(figures["about"]), ""]
        lines += _responses(figures) if "responses" in figures else _defenders(figures)
        lines += _training(figures["training"])
    lines += ["", "## Claims of the two papers", "", *_claims(claims)]
    return "\n".join(lines) + "\n"


def _how(experiment: Experiment, parts: Mapping[str, Figures], command: str) -> list[str]:
    primary = experiment.primary
    missing = [name for name in experiment.parts if name not in parts]
    left_out = f" Not run: {plain(', '.join(missing))}." if missing else ""
    return [
        (
            f"Made by {code(command)}; checked by `redteam-env experiment verify` on this directory, which "
            "judges every stored game again and computes every number again."
        ),
        "",
        f"Parts: {plain(', '.join(parts))}.{left_out}",
        "",
        (
            "How to read it. The judge is exact, so labels have no error. The unit is the training run: "
            f"a run's value is the mean over its last {experiment.measuring.checkpoints} checkpoints, an "
            "arm's the mean over its runs, in brackets Student's 95 % interval over runs (for the base, "
            "one model, a bootstrap over substances). A contrast is the mean difference of runs of the "
            "same seed. The suites are fixed requests: intervals speak of other training seeds, not of "
            f"other requests. The primary measures were fixed in the plan {code(experiment.name)} before the "
            f"runs: AUC of the refusal score and miss rate at {primary.over_refusal:.0%} over-refusal, "
            f"mean of the suites {', '.join(primary.suites)} (held-out combinations of one, two and "
            "three tactics); then attack success and over-refusal, which move along one curve and "
            "compare nothing by themselves."
        ),
    ]


def _defenders(figures: Figures) -> list[str]:
    found = figures["defenders"]
    lines: list[str] = []
    for split, title in _SPLITS.items():
        primary = found["splits"][split]["primary"]
        names = ("AUC", "miss", "attack success", "over-refusal, rewritten")
        columns = {**dict(zip(names, primary.values(), strict=True)), "quiz": found["quiz"]}
        lines += _by_arm(f"Scripted held-out attacks, {title}:", "defender", columns)
    contrasts = [
        [pair, title, *(number(x[m], sign=True) for m in ("auc", "miss"))]
        for split, title in _SPLITS.items()
        for pair, x in found["splits"][split]["contrasts"].items()
    ]
    if contrasts:
        lines += [
            "Contrasts:",
            "",
            *table(["arms", "substances", "AUC", "miss"], contrasts, shown=cell),
            "",
        ]
    if "crossplay" in figures:
        lines += _crossplay(figures["crossplay"]["pairs"])
    for name, title, first, titles in _TABLES:
        if name in figures:
            columns = {head: figures[name][key] for key, head in titles.items()}
            lines += _by_arm(title.format(**figures), first, columns)
    if "swaps" in figures:
        lines += _swaps(figures["swaps"])
    if "tuned" in figures:
        tuned = figures["tuned"]
        tried = ", ".join(f"{plain(k)} {v:.3f}" for k, v in tuned["auc"].items())
        lines += [
            f"Tuned arm: {plain(tuned['chosen'])} was chosen (AUC on tuning seeds: {tried}).",
            "",
        ]
    return lines


_TABLES: tuple[tuple[str, str, str, Mapping[str, str]], ...] = (
    (
        "own_play",
        "Exact attack success against:",
        "arm",
        {"own": "own defender", "stranger": "same arm, other seed", BASE: "base"},
    ),
    (
        "attackers",
        "What attackers write:",
        "attacker",
        {
            FAITHFULNESS: "exact faithfulness",
            "label_drift": "label drift",
            "refuses": "refuses",
            "hidden": "hides the name",
            "entropy": "entropy (bits)",
            "coverage": "coverage",
            "distance": "word distance",
        },
    ),
    (
        "twin",
        "Projected onto the tabular twin (reward units, exact there):",
        "arm",
        {
            "attacker_gain": "attacker could gain",
            "defender_gain": "defender could gain",
            "nash_conv": "NashConv",
        },
    ),
    (
        "gradients",
        "Cosine of gradients on shared weights, {gradients[games][0]} games:",
        "arm",
        {
            "between": "attacker and defender",
            "attacker_halves": "halves of attacker",
            "defender_halves": "halves of defender",
        },
    ),
)
"""Tables of one row an arm: the figures' name, the title, the first heading, and the other headings."""


def _by_arm(title: str, first: str, columns: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a table of one row an arm, for the arms of the first column."""
    arms = next(iter(columns.values()))
    rows = [[arm, *(number(x.get(arm)) for x in columns.values())] for arm in arms]
    return [title, "", *table([first, *columns], rows, shown=cell), ""]


def _crossplay(cells: Sequence[Figures]) -> list[str]:
    lines: list[str] = []
    for split, title in _SPLITS.items():
        for rate, name in (
            (ATTACK_SUCCESS, "Exact attack success"),
            ("over_refusal_rewritten", "Over-refusal of benign rewrites"),
        ):
            columns: dict[str, dict[str, Any]] = {}
            for x in cells:
                if x["split"] == split:
                    columns.setdefault(x["defender"], {})[x["attacker"]] = x[rate]
            lines += _by_arm(f"{name} in cross-play (rows attack), {title}:", "", columns)
    return lines


def _swaps(swaps: Figures) -> list[str]:
    one, other = swaps["attacker_weights_defend"], swaps["defender_weights_attack"]
    return [
        *_by_arm(
            "Attacker's weights in the defender's seat:",
            "attacker's weights of",
            {
                "AUC, training": one["train"]["auc"],
                "AUC, held out": one["heldout"]["auc"],
                "attack success, shown tactics": one["shown_attack_success"],
                "quiz": one["quiz"],
            },
        ),
        *_by_arm(
            "Defender's weights in the attacker's seat:",
            "defender's weights of",
            {
                "faithfulness": other["faithfulness"],
                "refuses a harmful seed": other["refuses_harmful_seed"],
            },
        ),
    ]


def _responses(figures: Figures) -> list[str]:
    lines: list[str] = []
    for split, title in _SPLITS.items():
        found = figures["responses"][split]
        columns = {
            "exact attack success": found[ATTACK_SUCCESS],
            "over-refusal, rewritten": found["over_refusal_rewritten"],
            "miss at fixed over-refusal": found["miss"],
        }
        about = f"Fresh attackers, {title} (a lower bound on what an attacker can do):"
        lines += _by_arm(about, "defender", columns)
        rows = [
            [pair, number(x[ATTACK_SUCCESS], sign=True), number(x["miss"], sign=True)]
            for pair, x in found["contrasts"].items()
        ]
        lines += [*table(["contrast", "exact attack success", "miss"], rows, shown=cell), ""]
    return lines


def _training(training: Figures) -> list[str]:
    rows = [
        [
            arm,
            f"{x['trained']:,}",
            f"{x['whole_model_over_one_set']:.2f}",
            number(training["seconds"][arm]),
        ]
        for arm, x in training["parameters"].items()
    ]
    head = ["arm", "trained parameters", "whole model / one set of weights", "seconds a run"]
    return ["What was trained:", "", *table(head, rows, shown=cell)]


def _claims(claims: Sequence[Mapping[str, Any]]) -> list[str]:
    count = Counter(claim["verdict"] for claim in claims)
    tested = sum(n for verdict, n in count.items() if verdict != "not tested")
    lines = [
        (
            f"{tested} intervals of 95 % were tested; about one in twenty excludes zero by chance. "
            f"{', '.join(f'{n} {verdict}' for verdict, n in sorted(count.items()))}."
        ),
        "",
    ]
    rows = [
        [
            claim["paper"],
            claim["claim"],
            f"{claim['prediction']} ({claim['part']})" if claim["prediction"] else "",
            _claimed(claim),
            claim["verdict"],
        ]
        for claim in claims
    ]
    return lines + table(
        ["paper", "claim", "predicts here", "measured", "verdict"], rows, shown=cell
    )


def _claimed(claim: Mapping[str, Any]) -> str:
    if "measured" not in claim:
        return ""
    low, high = claim["interval"]
    return f"{claim['measured']:+.3f} [{low:+.3f}, {high:+.3f}], {claim['runs']} runs"
