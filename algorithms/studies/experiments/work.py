"""Doing one task: train, measure, play the arms against each other, attack a frozen defender."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from algorithms.studies.experiments.config import Experiment
from algorithms.studies.experiments.gradients import role_gradients
from algorithms.studies.experiments.measure import Meter
from algorithms.studies.experiments.tasks import Runs
from algorithms.studies.games import Rows, write_table
from algorithms.studies.players import Player, last_steps
from algorithms.studies.tasks import (
    ATTACK,
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
from redteam_env.game import RedteamError
from redteam_env.protocols import BASE
from redteam_env.runs import Run
from redteam_env.utils.files import write_text
from redteam_env.worlds import build_game
from redteam_env.worlds.apothecary.rates import (
    ATTACK_SUCCESS,
    FAITHFULNESS,
    OVER_REFUSAL,
    form_rate,
)
from redteam_env.worlds.apothecary.suites import HIDDEN

CURVE = (
    *(f"game/{x}" for x in (ATTACK_SUCCESS, OVER_REFUSAL, FAITHFULNESS, "over_refusal_raw")),
    *(f"game/{form_rate(form)}" for form in HIDDEN),
    "attacker/kl",
    "defender/kl",
)
"""Metrics of a run that its record keeps, a value a step."""


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


class _Worker:
    def __init__(self, experiment: Experiment, root: Path, task: Task) -> None:
        self._experiment = experiment
        self._runs = Runs(experiment, root)
        self._task = task
        self._part = experiment.part(task.part)
        self._measuring = experiment.measuring
        self._output = root / task.output

    def do(self) -> str:
        kind = self._task.kind
        if kind in {TRAIN, ATTACK}:
            return self._train()
        if kind == GRADIENTS:
            write_text(self._output, json.dumps(self._gradients()))
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
        return [row for rows in self._meter().defender(player, steps) for row in rows]

    def _cross(self) -> Rows:
        cross, seed = self._part.crossplay, self._task.seed
        if cross is None:
            raise RedteamError(f"The part {self._part.name!r} has no crossplay.")
        names = [x for x in (*cross.attackers, *cross.defenders) if self._part.has(x, seed)]
        own = {arm: replace(self._task, arm=arm) for arm in names}
        players = {arm: self._player(task) for arm, task in own.items()}
        strangers = {
            arm: self._player(replace(own[arm], seed=other))
            for arm in names
            if arm != BASE and (other := self._part.stranger(arm, seed)) is not None
        }
        trained = [arm for arm, player in players.items() if player.run is not None]
        meter = self._meter()
        rows: Rows = []
        for step in self._last_steps(own[trained[0]]) if trained else [0]:
            for player in (*players.values(), *strangers.values()):
                player.restore(step)
            attackers, defenders = (
                [players[x] for x in side if x in players]
                for side in (cross.attackers, cross.defenders)
            )
            rows += meter.crossed(attackers, defenders, strangers, (seed, step))
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

    def _respond(self) -> Rows:
        attacker = self._player(self._task, name="best_response")
        attacker.restore(self._runs.config(self._task).run.steps)
        run = replace(self._task, part=str(self._part.against))
        defender = self._player(run)
        if run.arm != BASE:
            defender.restore(self._runs.config(run).run.steps)
        return self._meter().response(attacker, defender)

    def _player(self, task: Task, name: str | None = None) -> Player:
        """Return an arm's policy; a fresh attacker has a name of its own and is trained always.

        It does not sample: a best response to a defender that stays as it is needs no chance.
        """
        return Player.make(
            name or task.arm,
            task.seed,
            self._runs.config(task),
            temperatures={
                "attacker": 0.0 if name else self._measuring.attacker_temperature,
                "defender": self._measuring.defender_temperature,
            },
            trained=name is not None or task.arm != BASE,
        )

    def _last_steps(self, task: Task) -> list[int]:
        return last_steps(self._runs.config(task), self._measuring.checkpoints)

    def _meter(self) -> Meter:
        config = self._experiment.options(self._part, {}, 0, Path("unused"))
        return Meter(str(config.policy.model), build_game(config.game), self._measuring)


def _rounded(value: Any) -> Any:
    return round(value, 5) if isinstance(value, float) else value
