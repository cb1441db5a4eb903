"""All figures of a part, computed from its stored games and records alone."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from algorithms.studies.experiments.analysis import INF, Figure, by_arm, contrasts, defenders
from algorithms.studies.experiments.config import Experiment, Part
from algorithms.studies.experiments.encounters import Encounters
from algorithms.studies.experiments.races import races
from algorithms.studies.games import CROSS, QUIZ, Games
from algorithms.studies.verify import Labels, wrong_verdicts
from redteam_env.game import ATTACKER, DEFENDER, Dialogue, Line, RedteamError
from redteam_env.randomness import generator
from redteam_env.worlds import build_game
from redteam_env.worlds.apothecary import ApothecaryJudge, World
from redteam_env.worlds.apothecary.quiz import is_right, quiz

Records = Mapping[str, Mapping[str, Any]]
"""JSON records of a part: kind, then ``arm-seed``."""


def compute(
    experiment: Experiment, part: Part, games: Games, records: Records, other: Games | None = None
) -> Figure:
    """Return all figures of a part.

    Args:
        experiment: The experiment.
        part: The part.
        games: All its games.
        records: Its records: ``train``, ``gradients``, ``attack``.
        other: The games of the part that it plays against.
    """
    found = Encounters(experiment, experiment.world(part))
    figures: Figure = {"part": part.name, "about": part.about, "games": len(games)}
    if part.against is not None:
        if other is None:
            raise RedteamError(
                f"The part {part.name!r} is computed with the games of {part.against!r}, which are not "
                "there; report both."
            )
        figures["responses"] = found.responses(games, other)
        figures["training"] = _training(records.get("attack", {}))
    else:
        figures["defenders"] = defenders(experiment, games)
        figures["training"] = _training(records.get("train", {}))
        figures["race"] = races(records.get("train", {}))
        if len(games.where(kind=CROSS)):
            figures["crossplay"] = found.crossplay(games)
            figures["own_play"] = found.own_play(games)
            figures["attackers"] = found.attackers(games)
            table = build_game(experiment.options(part, {}, 0, Path("unused")).game).rewards
            figures["twin"] = found.twin(games, table)
        if records.get("gradients"):
            figures["gradients"] = _gradients(records["gradients"])
    figures["contrasts"] = contrasts(figures, pairs_of(experiment, part))
    return figures


def pairs_of(experiment: Experiment, part: Part) -> list[tuple[str, str]]:
    """Return the pairs of arms that a part compares: those of its claims first, then further ones."""
    claims = [x for x in experiment.claims.values() if x.part == part.name and len(x.arms) > 1]
    pairs = [(x.arms[0], x.arms[1]) for x in claims]
    further = part.contrasts
    if part.against is not None:
        every = pairs_of(experiment, experiment.part(part.against))
        further = [(a, b) for a, b in every if {a, b} <= {*part.defenders}]
    return list(dict.fromkeys([*pairs, *((a, b) for a, b in further)]))


def _training(records: Mapping[str, Any]) -> Figure:
    """Return parameters, their ratio to the whole model, steps and time a run, by arm."""
    values: dict[str, dict[tuple[str, int], float]] = {"seconds": {}}
    parameters: Figure = {}
    for name, record in records.items():
        arm, seed = _run_of(name)
        values["seconds"][arm, seed] = float(record["seconds"])
        trained = record["policy"]["trainable_parameters"]
        whole = int(record["policy"]["base_parameters"])
        parameters[arm] = {
            "weights": dict(trained),
            "trained": sum(trained.values()),
            "of_whole_model": sum(trained.values()) / whole,
            "steps": int(record["steps"]),
        }
    return {"seconds": by_arm(values["seconds"], (0.0, INF)), "parameters": parameters}


def _gradients(records: Mapping[str, Any]) -> Figure:
    names = ("between", "attacker_halves", "defender_halves")
    values: dict[str, dict[tuple[str, int], float]] = {name: {} for name in names}
    for name, record in records.items():
        for measure in names:
            values[measure][_run_of(name)] = float(record[measure])
    return {
        **{name: by_arm(found, (-1.0, 1.0)) for name, found in values.items()},
        "games": sorted({int(record["games"]) for record in records.values()}),
    }


def _run_of(name: str) -> tuple[str, int]:
    arm, _, seed = name.rpartition("-")
    return arm, int(seed)


def check_verdicts(experiment: Experiment, part: Part, games: Games) -> list[str]:
    """Judge every stored game again and mark every quiz answer; return what differs, at most ten."""
    world = experiment.world(part)
    judge = ApothecaryJudge(world.config)

    def labels(prompt: str, response: str) -> Labels:
        lines = (Line(seat=ATTACKER, text=prompt), Line(seat=DEFENDER, text=response))
        return judge.labels(Dialogue(lines=lines))

    played = games.where(kind=[x for x in _kinds(games) if x != QUIZ])
    wrong = [*wrong_verdicts(played, labels), *_wrong_seeds(world, played)]
    return (wrong + _check_quiz(experiment, world, games))[:10]


def _wrong_seeds(world: World, played: Games) -> Iterator[str]:
    """Yield the games whose label or split is not that of their substance."""
    known = {x.name: (x.restricted, x.split) for x in world.substances}
    columns = (played[name].tolist() for name in ("seed_id", "harmful", "split"))
    for seed_id, harmful, split in zip(*columns, strict=True):
        if known.get(seed_id.rpartition("-")[0]) != (harmful, split):
            yield f"{seed_id!r}: was stored as {harmful=}, {split=}"


def _kinds(games: Games) -> Sequence[str]:
    return [str(x) for x in np.unique(games["kind"])] if len(games) else []


def _check_quiz(experiment: Experiment, world: World, games: Games) -> list[str]:
    measuring = experiment.measuring
    asked = quiz(world, measuring.quiz_games, generator((measuring.seed, "quiz")))
    answers = {x.text: x for x in asked}
    rows = games.where(kind=QUIZ)
    wrong = []
    for prompt, response, right in zip(
        rows["prompt"].tolist(), rows["response"].tolist(), rows["right"].tolist(), strict=True
    ):
        if prompt not in answers:
            wrong.append(f"the quiz has no question {prompt!r}")
        elif is_right(answers[prompt], response) is not right:
            wrong.append(f"the answer to {prompt!r} was stored as {right}")
    return wrong
