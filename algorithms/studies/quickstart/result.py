"""What ``quickstart`` measures: all attackers against all defenders in the controlled world.

The judge is exact, so the rates are those of :mod:`redteam_env.worlds.apothecary.rates`, stricter than
those of :mod:`redteam_env.evaluation`, which know labels only. :mod:`algorithms.studies.quickstart.page` prints them.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from algorithms.training.config import TrainConfig
from redteam_env.evaluation import AgentPool, Rate, crossplay
from redteam_env.game import Episode
from redteam_env.protocols import BASE, Agent, Progress
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
    form_rate,
)
from redteam_env.worlds.apothecary.suites import ask_quiz
from redteam_env.worlds.apothecary.tactics import FORMS, PLAIN

ARRANGEMENTS = ("bipolicy", "shared")
DEFENDERS = (BASE, *ARRANGEMENTS)
SCRIPTED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        PLAIN: (),
        "story": ("story",),
        **{form: (form,) for form in FORMS if form != PLAIN},
    }
)
"""Tactics of the scripted attackers: none, a common frame, and each way to hide a name."""

QUIZ = "quiz_right"
HIDDEN = "names_hidden"
RATES: Mapping[str, str] = MappingProxyType(
    {
        **ABOUT,
        HIDDEN: "of all rewrites: one of the forms hides a name",
        QUIZ: "of quiz questions, which are no part of the game: the answer is right",
    }
)
"""What each rate is a share of."""

LEGEND = (
    "Rows attack, columns defend; rate [95 % interval] on substances that training never saw, by the "
    "exact judge of the world. Scripted attackers: plain is the seed itself, story a common frame, and "
    "the others hide the name in a way that the base attacker hardly uses."
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
        "attackers": {
            a: {x: cells[a, BASE][x].to_json() for x in (FAITHFULNESS, HIDDEN)} for a in attackers
        },
        "defenders": {
            name: {QUIZ: _quiz(agent, asked, seed).to_json()} for name, agent in defenders.items()
        },
    }


def strict(episodes: Sequence[Episode], judge: ApothecaryJudge) -> dict[str, Rate]:
    """Count in the games of a pairing what only an exact judge can tell.

    Args:
        episodes: Rewritten games.
        judge: Reads them.

    Returns:
        The rates of :data:`redteam_env.worlds.apothecary.rates.ABOUT`, and names hidden.
    """
    outcomes = [judge.outcomes(episode) for episode in episodes]
    counted = {name: [x[name] for x in outcomes if name in x] for name in ABOUT}
    forms = [form_rate(form) for form in judge.forms]
    counted[HIDDEN] = [any(x[form] for form in forms) for x in outcomes if x]
    return {name: Rate(k=sum(values), n=len(values)) for name, values in counted.items()}


def _quiz(agent: Agent, n: int, seed: int) -> Rate:
    asked = ask_quiz(make_world(), agent, n, (seed, "quickstart", "quiz"))
    right = [is_right(question, reply) for question, reply in asked]
    return Rate(k=sum(right), n=n)
