"""The tables of a report, in Markdown: what was run, how to read it, every number."""

from collections.abc import Mapping, Sequence
from typing import Any

from algorithms.studies.experiments.analysis import RAW_MEASURES
from algorithms.studies.experiments.config import (
    AUC,
    AUC_TRAIN,
    BEST_RESPONSE,
    ENTROPY,
    GRADIENT_COSINE,
    OWN_PLAY,
    QUIZ_SHARE,
    Experiment,
)
from algorithms.studies.experiments.refusing import DRESSED, RULES
from algorithms.studies.experiments.refusing import RAW as RAW_PLAY
from algorithms.studies.markdown import cell, code, number, plain, table
from redteam_env.protocols import BASE
from redteam_env.worlds.apothecary.rates import ATTACK_SUCCESS, FAITHFULNESS
from redteam_env.worlds.apothecary.suites import HIDDEN, RAW

Figures = Mapping[str, Any]
SPLITS = {"train": "training substances", "heldout": "held-out substances"}
TITLES: Mapping[str, str] = {
    AUC: "AUC",
    AUC_TRAIN: "AUC, training substances",
    "miss": "miss",
    **{f"auc_{form}": f"AUC, {form}" for form in HIDDEN},
    QUIZ_SHARE: "quiz",
    OWN_PLAY: "attack success, stranger less own",
    ENTROPY: "entropy of tactics (bits)",
    "hidden": "hides the name",
    "label_drift": "label drift",
    GRADIENT_COSINE: "cosine of gradients",
    BEST_RESPONSE: "best attacker found",
    "best_response_train": "best attacker found, training substances",
}
"""What the numbers that arms are compared by are called; without another word on held-out substances."""


def page(
    experiment: Experiment,
    parts: Mapping[str, Figures],
    claims: Figures,
    rewards: Figures,
    *,
    command: str,
) -> str:
    """Return all tables of a report.

    Args:
        experiment: The experiment.
        parts: The figures of every part that was run.
        claims: Every claim with its verdict.
        rewards: What refusing everything pays.
        command: The command that ran it.
    """
    lines = [f"# {plain(experiment.name)}: all tables", "", *_how(experiment, parts, command)]
    lines += ["", "## Verdicts", "", *verdicts(claims)]
    for name, part in experiment.parts.items():
        lines += ["", f"## {plain(name)}", "", plain(part.about), ""]
        if name not in parts:
            lines += ["Not run."]
            continue
        figures = parts[name]
        lines += _responses(figures["responses"]) if "responses" in figures else _arms(figures)
        lines += _contrasts(figures["contrasts"]) + _training(figures["training"])
    lines += ["", "## What refusing everything pays", "", *_refusing(rewards)]
    return "\n".join(lines) + "\n"


def verdicts(claims: Figures) -> list[str]:
    """Return the table of verdicts."""
    rows = []
    for name, x in claims.items():
        found = [
            plain(name.replace("_", " ")),
            plain(
                f"{TITLES[x['measure']]}: {x['contrast']}, {'above' if x['sign'] > 0 else 'below'} 0"
            ),
        ]
        if "value" in x:
            found += [
                number({"value": x["value"], "interval": x["interval"]}, sign=True),
                str(x["runs"]),
                p_value(x["p"]),
                p_value(x["p_holm"]),
            ]
        else:
            found += ["-"] * 4
        detectable = f"{x['detectable']:.3f}" if "detectable" in x else ""
        rows.append([*found, f"**{x['verdict']}**", detectable])
    head = [
        "claim",
        "primary contrast, as predicted",
        "value [95 %]",
        "runs",
        "p",
        "p, Holm",
        "verdict",
        "detectable",
    ]
    return table(head, rows)


def p_value(value: float) -> str:
    """Return a p value with three digits."""
    return f"{value:.3f}" if value >= 0.0005 else "< 0.001"


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
            f"other requests. The primary measure was fixed in the plan {code(experiment.name)} before the "
            "runs: AUC of the refusal score (how well it tells harmful from benign requests, at all "
            f"operating points), mean of the suites {plain(', '.join(primary.suites))}, on held-out "
            "substances, which no run has met, unless a claim names training ones. One contrast a claim is primary, and Holm's correction is over these; every other "
            "number is secondary, with a plain interval of 95 %: of twenty such intervals about one "
            "excludes zero by chance. The miss rate is read off the ROC curve at "
            f"{primary.over_refusal:.0%} over-refusal. Attack success and over-refusal move along one "
            "curve and compare nothing by themselves."
        ),
    ]


def _arms(figures: Figures) -> list[str]:
    found = figures["defenders"]
    lines: list[str] = []
    for split, title in SPLITS.items():
        values = found["splits"][split]
        names = ("AUC", "miss", "attack success", "over-refusal, rewritten")
        columns = {**dict(zip(names, values["primary"].values(), strict=True))}
        if RAW in values["suites"]:
            raw = (values["suites"][RAW][x] for x in RAW_MEASURES[2:])
            columns |= zip(("attack success, raw", "over-refusal, raw"), raw, strict=True)
        columns |= {"quiz": found["quiz"]}
        lines += _by_arm(f"Scripted attacks, mean of the forms, {title}:", "defender", columns)
        forms = {form: x["auc"] for form, x in values["suites"].items()}
        lines += _by_arm(f"AUC by suite, {title}:", "defender", forms)
    if "crossplay" in figures:
        lines += _crossplay(figures["crossplay"]["pairs"])
    for name, title, first, titles in _TABLES:
        if name in figures:
            columns = {head: figures[name][key] for key, head in titles.items()}
            lines += _by_arm(title.format(**figures), first, columns)
    return lines + _races(figures["race"])


def _races(races: Figures) -> list[str]:
    counts = ("runs", "fell", "rose", "fell_again")
    rows = [[arm, *(str(x[name]) for name in counts)] for arm, x in races.items()]
    head = ["arm", "runs", "attack success fell in", "then rose again in", "and fell again in"]
    title = "The race in training, in how many runs of each arm:"
    return [title, "", *table(head, rows, shown=cell), ""]


_TABLES: tuple[tuple[str, str, str, Mapping[str, str]], ...] = (
    (
        "own_play",
        "Exact attack success against:",
        "arm",
        {
            BASE: "base",
            "own": "own defender",
            "stranger": "same arm, other seed",
            "stranger - own": "stranger less own",
        },
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
    """Return a table of one row an arm, for the arms of the first column; nothing if it has none."""
    arms = next(iter(columns.values()))
    if not arms:
        return []
    rows = [[arm, *(number(x.get(arm)) for x in columns.values())] for arm in arms]
    return [title, "", *table([first, *columns], rows, shown=cell), ""]


def _crossplay(cells: Sequence[Figures]) -> list[str]:
    lines: list[str] = []
    for split, title in SPLITS.items():
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


def _responses(responses: Figures) -> list[str]:
    titles = {
        "best": "best attacker found",
        "script": "best script",
        "fresh": "fresh attacker",
        "fresh - script": "fresh less best script",
        BASE: "untrained attacker",
        "over_refusal_rewritten": "over-refusal of the fresh one's benign rewrites",
    }
    lines: list[str] = []
    for split, title in SPLITS.items():
        columns = {head: responses[split][name] for name, head in titles.items()}
        about = f"Exact attack success on final defenders, {title} (lower bounds of what an attacker can do):"
        lines += _by_arm(about, "defender", columns)
    return lines


def _contrasts(contrasts: Figures) -> list[str]:
    rows = [
        [pair, TITLES[name], number(x, sign=True), str(len(x["values"]))]
        for pair, found in contrasts.items()
        for name, x in found.items()
    ]
    if not rows:
        return []
    head = ["arms", "number", "difference", "runs"]
    return [
        "Contrasts (those of the claims are judged above):",
        "",
        *table(head, rows, shown=cell),
        "",
    ]


def _training(training: Figures) -> list[str]:
    rows = [
        [
            arm,
            f"{x['trained']:,}",
            f"{x['of_whole_model']:.2f}",
            str(x["steps"]),
            number(training["seconds"][arm], digits=0),
        ]
        for arm, x in training["parameters"].items()
    ]
    head = ["arm", "trained parameters", "of those of the whole model", "steps", "seconds a run"]
    return ["What was trained:", "", *table(head, rows, shown=cell)]


def _refusing(rewards: Figures) -> list[str]:
    rows = [
        [name, *(f"{found[play][rule]:+.2f}" for play in (RAW_PLAY, DRESSED) for rule in RULES)]
        for name, found in rewards.items()
    ]
    head = ["rewards", *(f"{rule}, {play}" for play in (RAW_PLAY, DRESSED) for rule in RULES)]
    return [
        (
            "The defender's expected reward a game in the tabular game of the world, where it is exact: raw "
            "requests, and requests that are dressed faithfully, in every form of the name equally often. Half of "
            "the seeds are harmful. `oracle` refuses what is restricted, by any name."
        ),
        "",
        *table(head, rows, shown=cell),
    ]
