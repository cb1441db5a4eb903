"""Doing one task: train, measure, play the arms against each other, attack a frozen defender."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from algorithms.studies.experiments.config import Experiment
from algorithms.studies.experiments.gradients import role_gradients
from algorithms.studies.experiments.measure import Meter
from algorithms.studies.experiments.tasks import Runs
from algorithms.studies.games import SUITE, Rows, read_tables, write_table
from algorithms.studies.players import Player, last_steps
from algorithms.studies.tasks import (
    ATTACK,
    CHOOSE,
    CROSS,
    DONE,
    GRADIENTS,
    INTERRUPTED,
    MEASURE,
    RESPOND,
    TRAIN,
    Task,
)
from algorithms.training.trainer import train
from redteam_env.evaluation.detection import roc
from redteam_env.game import RedteamError
from redteam_env.protocols import BASE
from redteam_env.runs import Run
from redteam_env.utils.files import write_text
from redteam_env.worlds import build_game

CURVE = (
    "game/attack_success",
    "game/over_refusal_raw",
    "game/faithfulness",
    "attacker/reward",
    "defender/reward",
    "attacker/kl",
    "defender/kl",
)


def do(experiment: Experiment, root: Path, task: Task) -> str:
    """Do a task.

    Args:
        experiment: The experiment.
        root: Its directory.
        task: What to do; what it needs exists.

    Returns:
        ``done``, or ``interrupted`` if training was stopped by Ctrl-C after a whole step.

    Raises:
        RedteamError: If something is wrong with a run; the text names the task.
    """
    try:
        return _Worker(experiment, root, task).do()
    except RedteamError as error:
        raise RedteamError(f"{task.title}: {error}") from error


def crossing(
    players: Sequence[Player], seeds: Sequence[int], seed: int
) -> tuple[list[Player], list[Player], dict[str, int]]:
    """Return who meets whom in the cross-play of one training seed.

    Args:
        players: All arms with that seed, the base among them.
        seeds: The part's training seeds.
        seed: That one.

    Returns:
        The attackers, the defenders, and for every arm that trains both roles the seed of a
        stranger: the same arm trained with the next seed. With one seed there are no strangers.
    """
    attackers = [x for x in players if x.trained != ("defender",)]
    defenders = [x for x in players if x.trained != ("attacker",)]
    other = seeds[(seeds.index(seed) + 1) % len(seeds)]
    both = [x.arm for x in players if {"attacker", "defender"} <= set(x.trained)]
    return attackers, defenders, dict.fromkeys(both, other) if other != seed else {}


class _Worker:
    def __init__(self, experiment: Experiment, root: Path, task: Task) -> None:
        self._experiment = experiment
        self._runs = Runs(experiment, root)
        self._task = task
        self._part = self._runs.part(task)
        self._measuring = experiment.measuring
        self._output = root / task.output

    def do(self) -> str:
        kind = self._task.kind
        if kind in {TRAIN, ATTACK}:
            return self._train()
        if kind in {GRADIENTS, CHOOSE}:
            record = self._gradients() if kind == GRADIENTS else self._choose()
            write_text(self._output, json.dumps(record))
            return DONE
        tables = {MEASURE: self._measure, CROSS: self._cross, RESPOND: self._respond}
        write_table(self._output, tables[kind]())
        return DONE

    def _train(self) -> str:
        outcome = train(self._runs.config(self._task))
        if not outcome.finished:
            return INTERRUPTED
        run = Run(outcome.directory)
        rows, record = run.rows(), run.record() or {}
        found = {
            "config": record["config"],
            "policy": record["policy"],
            "steps": outcome.steps,
            "seconds": round(sum(x["time/play_s"] + x["time/update_s"] for x in rows), 1),
            "curve": {name: [_rounded(row.get(name)) for row in rows] for name in CURVE},
        }
        write_text(self._output, json.dumps(found))
        return DONE

    def _measure(self) -> Rows:
        player = self._player(self._task)
        steps = self._last_steps(self._task) if player.run else [0]
        rows: Rows = []
        meter = self._meter()
        if player.trained != ("attacker",):
            for found in meter.defender(player, steps):
                rows += found
        player.restore(steps[-1])
        if self._part.swap:
            rows += meter.swapped(player)
        return rows

    def _cross(self) -> Rows:
        own = {arm: replace(self._task, arm=arm) for arm in self._part.names}
        players = [self._player(task) for task in own.values()]
        attackers, defenders, other = crossing(players, self._part.seeds, self._task.seed)
        strangers = {arm: self._player(replace(own[arm], seed=seed)) for arm, seed in other.items()}
        meter = self._meter()
        rows: Rows = []
        first = next(x for x in players if x.run is not None)
        for step in self._last_steps(own[first.arm]):
            for player in (*players, *strangers.values()):
                player.restore(step)
            rows += meter.crossed(attackers, defenders, strangers)
        return rows

    def _gradients(self) -> Mapping[str, Any]:
        config = self._runs.config(self._task)
        player = self._player(self._task)
        player.restore(config.run.steps)
        return role_gradients(
            config,
            player.policy,
            games=self._measuring.gradient_games,
            seed=self._measuring.seed,
        )

    def _choose(self) -> Mapping[str, Any]:
        scores: dict[str, list[float]] = {}
        suites = self._experiment.primary.suites
        for task in self._runs.tuning(self._task):
            score = tuning_score(self._runs.root / task.output, suites)
            scores.setdefault(task.arm, []).append(score)
        means = {arm: float(np.mean(values)) for arm, values in scores.items()}
        best = max(means, key=lambda arm: means[arm])
        tuned = self._part.tuned
        options = {} if tuned is None else dict(tuned.candidates[best])
        return {"chosen": best, "auc": means, "options": options}

    def _respond(self) -> Rows:
        attacker = self._player(self._task, name="best_response")
        attacker.restore(self._runs.config(self._task).run.steps)
        run = replace(self._task, part=str(self._part.against))
        defender = self._player(run)
        if run.arm != BASE:
            defender.restore(self._runs.config(run).run.steps)
        return self._meter().response(attacker, defender)

    def _player(self, task: Task, name: str | None = None) -> Player:
        """Return an arm's policy; a fresh attacker, which has a name of its own, is trained always."""
        return Player.make(
            name or task.arm,
            task.seed,
            self._runs.config(task),
            temperatures={
                "attacker": self._measuring.attacker_temperature,
                "defender": self._measuring.defender_temperature,
            },
            trained=name is not None or task.arm != BASE,
        )

    def _last_steps(self, task: Task) -> list[int]:
        return last_steps(self._runs.config(task), self._measuring.checkpoints)

    def _meter(self) -> Meter:
        config = self._experiment.options(self._part, {}, 0, Path("unused"))
        return Meter(str(config.policy.model), build_game(config.game), self._measuring)


def tuning_score(file: Path, suites: Any) -> float:
    """Return the mean area under the ROC curve over suites, splits and checkpoints of a record."""
    rows = read_tables([file]).where(kind=SUITE, suite=tuple(suites))
    found = [roc(x["score"], x["harmful"]).auc for _, x in rows.by("step", "suite", "split")]
    return float(np.mean(found))


def _rounded(value: Any) -> Any:
    return round(value, 5) if isinstance(value, float) else value
