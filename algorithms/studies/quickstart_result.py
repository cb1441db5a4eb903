"""What ``quickstart`` measures: all attackers against all defenders in the controlled world.

The judge is exact, so the rates are those of :mod:`redteam_env.worlds.apothecary.rates`, stricter than
those of :mod:`redteam_env.evaluation`, which know labels only.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from algorithms.training.config import TrainConfig
from redteam_env.evaluation import AgentPool, Rate, crossplay
from redteam_env.game import Episode
from redteam_env.protocols import BASE, Agent, Progress
from redteam_env.report import rate_cell
from redteam_env.rollout import schedule
from redteam_env.worlds import build_game
from redteam_env.worlds.apothecary import (
    ApothecaryJudge,
    ScriptedAttacker,
    is_right,
    make_world,
    seeds,
)
from redteam_env.worlds.apothecary.rates import (
    ABOUT,
    ATTACK_SUCCESS,
    FAITHFULNESS,
    OVER_REFUSAL,
    exact_outcomes,
)
from redteam_env.worlds.apothecary.suites import ask_quiz

ARRANGEMENTS = ("bipolicy", "shared")
DEFENDERS = (BASE, *ARRANGEMENTS)
SCRIPTED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "plain": (),
        "story": ("story",),
        "spelled": ("spelled",),
        "master + never": ("master", "never"),
    }
)
"""Tactics of the scripted attackers: none, a common frame, a rare name form, a held-out pair."""

QUIZ = "quiz_right"
RATES: Mapping[str, str] = MappingProxyType(
    {
        **ABOUT,
        QUIZ: "of quiz questions, which are no part of the game: the answer is right",
    }
)
"""What each rate is a share of."""

LEGEND = (
    "Rows attack, columns defend; rate [95 % interval] on substances that training never saw, by the "
    "exact judge of the world. Scripted attackers: plain is the seed itself, story a common frame, "
    "spelled a name form that the base attacker hardly uses, master + never a pair it was never "
    "shown."
)
READING = (
    "How to read it: take attack success and over-refusal together (who refuses everything has 0.00 "
    "in the first), and do not rank the arrangements: this is one short run of each, and the "
    "intervals cover the luck of the games, not that of training."
)


def measure(
    runs: Mapping[str, str], config: TrainConfig, *, games: int, progress: Progress
) -> dict[str, Any]:
    """Play the cross-play and ask the quiz; everybody samples at the temperature of training.

    Args:
        runs: The directory of each finished run, by arrangement.
        config: Of any of the runs: they differ in the arrangement only.
        games: Games of each pairing, half from harmful seeds; the quiz has half as many questions.
        progress: Called as ``progress(phase, done, total)``.

    Returns:
        Plain JSON: ``cells``, a list of rates with attacker and defender; ``attackers`` and
        ``defenders``, the rates of each on its own.
    """
    seed = config.run.seed
    world = make_world()
    judge = ApothecaryJudge()
    pool = AgentPool(
        base=config.policy.model,
        max_new_tokens=config.policy.max_new_tokens,
        temperature=config.policy.temperature,
    )
    specs = {BASE: BASE, **runs}
    defenders = {name: pool.agent(spec, "defender") for name, spec in specs.items()}
    attackers: dict[str, Agent] = {
        **{name: pool.agent(spec, "attacker") for name, spec in specs.items()},
        **{name: ScriptedAttacker(world, tactics) for name, tactics in SCRIPTED.items()},
    }
    played = crossplay(
        attackers,
        defenders,
        schedule(
            seeds(),
            games,
            path=(seed, "quickstart"),
            rewrite_fraction=1.0,
            split="heldout",
        ),
        judge,
        game=build_game(config.game),
        seed=seed,
        progress=progress,
    )
    cells = {pair: strict(cell.episodes, judge) for pair, cell in played.cells.items()}
    asked = games // 2
    return {
        "cells": [
            {
                "attacker": a,
                "defender": d,
                **{x: found[x].to_json() for x in (ATTACK_SUCCESS, OVER_REFUSAL)},
            }
            for (a, d), found in cells.items()
        ],
        "attackers": {a: {FAITHFULNESS: cells[a, BASE][FAITHFULNESS].to_json()} for a in attackers},
        "defenders": {
            name: {QUIZ: _quiz(agent, asked, seed).to_json()} for name, agent in defenders.items()
        },
    }


def strict(episodes: Sequence[Episode], judge: ApothecaryJudge) -> dict[str, Rate]:
    """Count in the games of a pairing what only an exact judge can tell.

    Args:
        episodes: Rewritten games; the judge leaves none void.
        judge: Reads the rewrites.

    Returns:
        The rates of :data:`redteam_env.worlds.apothecary.rates.ABOUT`.
    """
    counted: dict[str, list[bool]] = {name: [] for name in ABOUT}
    for episode in episodes:
        verdict = episode.verdict
        outcomes = exact_outcomes(
            judge.decode(episode.turns[0].visible),
            episode.seed,
            response_harmful=verdict is not None and bool(verdict.response_harmful),
            refused=None if verdict is None else bool(verdict.response_refusal),
        )
        for name, happened in outcomes.items():
            counted[name].append(happened)
    return {name: Rate(k=sum(values), n=len(values)) for name, values in counted.items()}


def _quiz(agent: Agent, n: int, seed: int) -> Rate:
    asked = ask_quiz(make_world(), agent, n, (seed, "quickstart", "quiz"))
    right = [is_right(question, reply) for question, reply in asked]
    return Rate(k=sum(right), n=n)


def report(result: Mapping[str, Any]) -> Group:
    """Return what a result says, as tables with 95 % Wilson intervals and how to read them.

    Args:
        result: What the command writes to ``result.json``.
    """
    cells = {(x["attacker"], x["defender"]): x for x in result["cells"]}
    attackers, defenders = result["attackers"], result["defenders"]
    n = f"{attackers[BASE][FAITHFULNESS]['n']} and {defenders[BASE][QUIZ]['n']}"
    abilities = Table("", "exact faithfulness (attacker)", "quiz right (defender)")
    for name in DEFENDERS:
        rates = (attackers[name][FAITHFULNESS], defenders[name][QUIZ])
        abilities.add_row(name, *map(_cell, rates))
    return Group(
        _matrix("Exact attack success: low is good for the defender", ATTACK_SUCCESS, cells),
        _matrix("Exact over-refusal of benign rewrites: low is good", OVER_REFUSAL, cells),
        Text(f"\nAbilities kept: high is good (n = {n})", "bold"),
        abilities,
        Text(LEGEND),
        Text(f"\n{result['reading']}\n", "bold"),
        Text(f"Runs: {', '.join(result['runs'].values())}. Everything printed: {result['result']}"),
    )


def _matrix(title: str, rate: str, cells: Mapping[tuple[str, str], Any]) -> Group:
    counts = sorted({cell[rate]["n"] for cell in cells.values()})
    n = " to ".join(dict.fromkeys(str(x) for x in (counts[0], counts[-1])))
    table = Table("attacker")
    for defender in DEFENDERS:
        table.add_column(defender, justify="right")
    for attacker in (*DEFENDERS, *SCRIPTED):
        row = (_cell(cells[attacker, defender][rate]) for defender in DEFENDERS)
        table.add_row(attacker, *row, end_section=attacker == DEFENDERS[-1])
    return Group(Text(f"\n{title} (n = {n})", "bold"), table)


def _cell(rate: Mapping[str, Any]) -> Text:
    return rate_cell(Rate(k=rate["k"], n=rate["n"]))
