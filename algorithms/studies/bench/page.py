"""The leaderboard as a page of Markdown; names come from plug-ins and are escaped."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from algorithms.studies.bench.config import PRIMARY
from algorithms.studies.bench.headline import LEAST_RANGE
from algorithms.studies.bench.leaderboard import COMPARED
from algorithms.studies.bench.records import BY_GAMES, BY_TOKENS
from algorithms.studies.bench.resolution import ALIKE
from algorithms.studies.bench.scores import (
    ABOUT,
    ATTACK,
    AUC,
    CAPABILITY,
    DEFENCE,
    DIVERSITY,
    GAP,
    REFUSAL_RAW,
    REFUSAL_REWRITTEN,
    ROBUSTNESS,
    SUCCESS,
    TRAIN_ATTACK,
    TRAIN_DEFENCE,
)
from algorithms.studies.markdown import cell, code, number, plain, table
from redteam_env.report.tables import judge_line

Figures = Mapping[str, Any]
TITLES: Mapping[str, str] = {
    DEFENCE: "defence",
    ATTACK: "attack",
    TRAIN_DEFENCE: "defence, training",
    TRAIN_ATTACK: "attack, training",
    AUC: "AUC",
    SUCCESS: "attack success",
    ROBUSTNESS: "robustness",
    REFUSAL_RAW: "over-refusal, raw",
    REFUSAL_REWRITTEN: "over-refusal, rewritten",
    CAPABILITY: "capability",
    GAP: "best-response gap (lower bound)",
    DIVERSITY: "diversity",
}
_RATINGS = ("attacker rating", "defender rating")
_COST = ("games", "extra games", "tokens", "seconds", "tokens/s", "peak GB")
_ABOUT_ROWS: Mapping[str, str] = {
    "rating": "skill (Plackett-Luce; prior 25) from cross-play, one tournament a seed",
    "base (untrained)": "the model that all runs start from, with nothing learnt, at no cost. It met suites "
    "and panels once, which count for every seed. Its gap and its ratings have an interval: fresh "
    "attackers and cross-play differ from seed to seed",
    "+psro": "the meta-strategy that the run ended with: each game is one frozen version's; what was "
    "learnt after the last whole round plays in no game",
    "games, extra games": "those that a run learnt from; those that its league played besides, to "
    "measure pay-offs, from which nobody learns",
    "tokens, seconds, peak GB": "of one training run, the mean over its seeds. Tokens are those that its "
    "models sampled in both seats (of sb3_ppo and its kin only the opponent's: its own moves are "
    "numbers). Tokens and seconds include extra games; seconds include neither the start of the process "
    "nor checkpoints. The peak is that of a process which did nothing else; there is "
    "none where a run was interrupted",
}


def board(figures: Figures) -> list[list[str]]:
    """Return the leaderboard's rows, the heading first."""
    heading = ["cell", *TITLES.values(), *_RATINGS, *_COST]
    return [heading, *(_row(x) for x in figures["cells"])]


def title(cell: Figures) -> str:
    """Return what a row of the leaderboard is called."""
    return (
        f"{cell['label']}, {cell['arrangement']}"
        if cell["trained"]
        else f"{cell['label']} (untrained)"
    )


def _row(cell: Figures) -> list[str]:
    name = title(cell)
    if cell["reason"] is not None:
        return [name, f"cannot be run: {cell['reason']}"]
    cost = cell["cost"]
    return [
        name,
        *(_number(cell["scores"].get(x)) for x in TITLES),
        *(_number(cell["rating"].get(seat), digits=1) for seat in ("attacker", "defender")),
        f"{cost['games']['mean']:,.0f}",
        f"{cost['extra_games']['mean']:,.0f}",
        f"{cost['tokens']['mean']:,.0f}",
        f"{cost['seconds']['mean']:,.0f}",
        f"{cost['tokens_per_s']:,.0f}",
        "-" if (peak := cost["peak_memory_gb"]["mean"]) is None else f"{peak:.2f}",
    ]


def _number(found: Figures | None, digits: int = 2) -> str:
    return number(found, digits=digits, none="no interval")


def _below(figures: Figures, shown: Callable[[str], str] = str) -> str:
    runs = max((x["runs"] for c in figures["cells"] for x in c["scores"].values()), default=0)
    return (
        f"Interquartile mean over runs and tasks [95 % bootstrap over {runs} training seeds]. "
        f"{figures['games']:,} games and answers, {figures['void']} void. With few seeds the "
        "intervals are too narrow: a bootstrap cannot see what no seed has shown. The base is not "
        "trained: it met suites and panels once, in the same games as every run, so it has no interval "
        "there, and in comparisons with it only the other's runs are drawn. "
        f"{comparable(figures, shown)} "
        + shown(judge_line(figures["judge"]["name"], figures["judge"]["smoke_only"]).plain)
    )


def comparable(figures: Figures, shown: Callable[[str], str] = str) -> str:
    """Return which scores were reached on equal games, and which on equal tokens.

    Args:
        figures: The leaderboard.
        shown: How a name is written.
    """
    budget = figures["budget"]
    cells = [x for x in figures["cells"] if x["trained"] and x["reason"] is None]
    groups: dict[str, list[str]] = {BY_GAMES: [], BY_TOKENS: [], "": []}
    for row in cells:
        ended = set(row["cost"]["ended_by"])
        groups[ended.pop() if len(ended) == 1 else ""].append(shown(title(row)))
    tokens = [x for row in cells for x in row["cost"]["tokens"]["by_seed"]]
    spread = f"{min(tokens):,.0f} to {max(tokens):,.0f}" if tokens else "none"
    if not budget["tokens"]:
        return (
            f"Scores are comparable at equal games: every run learnt from {budget['games']:,}. They are "
            f"not at equal tokens: runs sampled {spread}, extra games included (--token-budget ends "
            "runs at equal ones)."
        )
    said = []
    if groups[BY_TOKENS]:
        said.append(
            f"Comparable at equal tokens (ended by the step that reached {budget['tokens']:,}, extra "
            f"games included; their games differ): {'; '.join(groups[BY_TOKENS])}."
        )
    if groups[BY_GAMES]:
        said.append(
            f"Comparable at equal games (ended at {budget['games']:,}, before their tokens were spent): "
            f"{'; '.join(groups[BY_GAMES])}."
        )
    if groups[""]:
        said.append(f"Comparable at neither, as their seeds ended apart: {'; '.join(groups[''])}.")
    return f"{' '.join(said)} Runs sampled {spread} tokens."


def markdown(figures: Figures, command: str) -> str:
    """Return the leaderboard as a page.

    Args:
        figures: The leaderboard.
        command: What made it.
    """
    heading, *rows = board(figures)
    lines = ["# Leaderboard", "", f"Made by {code(command)}.", ""]
    lines += table(heading, rows, shown=cell)
    lines += ["", _below(figures, plain), "", "What the columns are:", ""]
    lines += [f"- **{TITLES[name]}**: {about}." for name, about in ABOUT.items()]
    lines += [f"- **{name}**: {about}." for name, about in _ABOUT_ROWS.items()]
    lines += _by_task(figures, AUC, "AUC by form, on held-out substances")
    lines += _by_task(figures, SUCCESS, "Attack success by defender, on held-out substances")
    lines += _grading(figures)
    for name in COMPARED:
        lines += ["", f"## What is told apart: {TITLES[name]}", ""]
        said = [*resolution_line(figures, name), *verdict_lines(figures, name)]
        lines += [f"- {plain(line)}" for line in said]
        lines += _improvement(figures["improvement"][name], TITLES[name])
    if said := ladder_lines(figures):
        lines += ["", "## The ladder", "", *(f"- {plain(line)}" for line in said)]
    return "\n".join(lines) + "\n"


def resolution_line(figures: Figures, name: str) -> list[str]:
    """Return which difference of a score a benchmark finds, as a line; none where no runs scatter.

    Args:
        figures: The leaderboard.
        name: One of the headline scores.
    """
    if (found := figures["resolution"][name]) is None:
        return []
    more = found["seeds_for_half"]
    return [
        (
            f"Runs of one cell scatter by {found['deviation']:.3f} (standard deviation; cells whose runs "
            "are all alike, as at the end of the scale, are left out). With "
            f"{found['seeds']} seeds a difference of {found['smallest']:.3f} is found 8 times in 10; half "
            f"of that needs {more if more is not None else 'more than a thousand'} seeds."
        )
    ]


def verdict_lines(figures: Figures, name: str) -> list[str]:
    """Return a verdict on each two cells, as lines: those that are told apart first, widest first.

    Args:
        figures: The leaderboard.
        name: One of the headline scores.
    """
    found = sorted(
        figures["verdicts"][name],
        key=lambda x: (x["verdict"] == ALIKE, -abs(x["difference"]), x["first"], x["second"]),
    )
    if not found:
        return []
    apart = sum(x["verdict"] != ALIKE for x in found)
    return [f"{apart} of {len(found)} pairs of cells are told apart.", *map(_told, found)]


def _told(found: Figures) -> str:
    difference = f"{found['difference']:+.3f}"
    if found["interval"] is not None:
        difference += " [" + ", ".join(f"{x:+.3f}" for x in found["interval"]) + "]"
    if found["verdict"] != ALIKE:
        return f"{found['first']} is {found['verdict']} than {found['second']}: {difference}."
    seeds = found["seeds_needed"]
    needs = f"about {seeds} seeds" if seeds is not None else "more seeds than can be said"
    return (
        f"{found['first']} and {found['second']} are not told apart: {difference}, needs {needs}."
    )


def ladder_lines(figures: Figures) -> list[str]:
    """Return how the ladder came out, as lines; none if it was not ranked.

    Args:
        figures: The leaderboard.
    """
    if (found := figures.get("ladder")) is None:
        return []
    lines = [
        f"{rung['label']} ({rung['about']}): "
        + ", ".join(f"{x:.3f} ({arrangement})" for arrangement, x in rung["means"].items())
        for rung in found["rungs"]
    ]
    if found["faults"]:
        return [*lines, f"The ladder is not in its order: {'; '.join(found['faults'])}."]
    lines.append(
        f"The ladder is in its order by {found['score']}: any two rungs that are two or more apart are "
        "told apart."
    )
    return lines


def _by_task(figures: Figures, name: str, heading: str) -> list[str]:
    """Return a score on each of its tasks, as a table of means over training seeds."""
    cells = {title(x): found for x in figures["cells"] if (found := x["scores"].get(name))}
    tasks = list(dict.fromkeys(task for found in cells.values() for task in found["tasks"]))
    rows = []
    for label, found in cells.items():
        means = dict(zip(found["tasks"], np.mean(found["by_seed"], axis=0), strict=True))
        rows.append([label, *(f"{means[x]:.2f}" if x in means else "-" for x in tasks)])
    if not rows:
        return []
    return ["", f"## {heading}", "", *table(["cell", *tasks], rows, shown=cell)]


def _grading(figures: Figures) -> list[str]:
    """Return what attackers are graded against, and how strong fresh attackers are."""
    head = ["defender", "substances", "untrained base", "best suite", "graded on"]
    rows = [
        [name, split, f"{x['floor']:.2f}", f"{x['ceiling']:.2f}", "yes" if x["tells"] else "no"]
        for split, found in figures["panel"].items()
        for name, x in found.items()
    ]
    lines = ["", "## Floors and ceilings of the panel", "", *table(head, rows, shown=cell)]
    lines += [""]
    lines.append(
        f"Headline scores are those on the substances of the split {PRIMARY}. A defender on which the best "
        f"suite reaches less than {LEAST_RANGE} more than the base tells no attackers apart."
    )
    if (fresh := figures["fresh"]) is not None and fresh["by_seed"]:
        reached = sum(fresh["by_seed"]) / len(fresh["by_seed"])
        low, high = fresh["interval"]
        verdict = (
            "They are weaker than the best suite, so gaps owe more to suites than to them: give a larger "
            "--response-budget"
            if fresh["weaker"]
            else "They are not weaker than the best suite"
        )
        lines += [""]
        lines.append(
            f"Fresh attackers reach {reached:.2f} [{low:.2f}, {high:.2f}] on the untrained base, the best "
            f"suite {fresh['script']:.2f}. {verdict}."
        )
    return lines


def _improvement(found: Figures, title: str) -> list[str]:
    names = list(found)
    if len(names) < 2:
        return []
    lines = [
        "",
        f"## Probability that a run of the row scores higher than one of the column: {title}",
    ]
    rows = [[x, *(_number(found[x].get(other)) for other in names)] for x in names]
    return [*lines, "", *table(["", *names], rows, shown=cell)]
