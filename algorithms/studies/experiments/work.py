"""Doing one task: train, measure, play the arms against each other, attack a frozen defender."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from algorithms.studies.experiments.config import Experiment, Part
from algorithms.studies.experiments.gradients import role_gradients
from algorithms.studies.experiments.measure import Meter
from algorithms.studies.experiments.players import Player, last_steps
from algorithms.studies.experiments.tasks import (
    ATTACK,
    CHOOSE,
    CROSS,
    GRADIENTS,
    MEASURE,
    RESPOND,
    TRAIN,
    Layout,
    Task,
    run_config,
)
from algorithms.studies.games_table import SUITE, read_tables, write_table
from algorithms.studies.workers import DONE, INTERRUPTED
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
    layout = Layout(root)
    try:
        return _Worker(experiment, layout, task).do()
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
    def __init__(self, experiment: Experiment, layout: Layout, task: Task) -> None:
        self._experiment = experiment
        self._layout = layout
        self._task = task
        self._output = layout.root / task.output

    def do(self) -> str:
        kind = self._task.kind
        if kind in {TRAIN, ATTACK}:
            return self._train()
        steps: Mapping[str, Any] = {
            MEASURE: self._measure,
            CROSS: self._cross,
            GRADIENTS: self._gradients,
            CHOOSE: self._choose,
            RESPOND: self._respond,
        }
        steps[kind]()
        return DONE

    def _train(self) -> str:
        config = self._attack_config() if self._task.kind == ATTACK else self._config()
        outcome = train(config)
        if not outcome.finished:
            return INTERRUPTED
        run = Run(outcome.directory)
        rows, record = run.rows(), run.record() or {}
        write_text(
            self._output,
            json.dumps(
                {
                    "config": record["config"],
                    "policy": record["policy"],
                    "steps": outcome.steps,
                    "seconds": round(sum(x["time/play_s"] + x["time/update_s"] for x in rows), 1),
                    "curve": {name: [_rounded(row.get(name)) for row in rows] for name in CURVE},
                }
            ),
        )
        return DONE

    def _measure(self) -> None:
        part = self._part()
        config = self._config()
        player = self._player(self._task.part, self._task.arm, self._task.seed)
        steps = last_steps(config, self._measuring.checkpoints) if player.run else [0]
        rows = []
        meter = self._meter()
        if player.trained != ("attacker",):
            for found in meter.defender(player, steps):
                rows += found
        player.restore(steps[-1])
        if part.swap:
            rows += meter.swapped(player)
        write_table(self._output, rows)

    def _cross(self) -> None:
        part = self._part()
        arms = [*part.arms, *([part.tuned.name] if part.tuned else [])]
        players = [self._player(part.name, arm, self._task.seed) for arm in arms]
        attackers, defenders, other = crossing(players, part.seeds, self._task.seed)
        strangers = {arm: self._player(part.name, arm, seed) for arm, seed in other.items()}
        meter = self._meter()
        rows = []
        count = self._measuring.checkpoints
        first = next(x for x in players if x.run is not None)
        places = last_steps(self._run_config(part.name, first.arm), count)
        for step in places:
            for player in (*players, *strangers.values()):
                player.restore(step)
            rows += meter.crossed(attackers, defenders, strangers)
        write_table(self._output, rows)

    def _gradients(self) -> None:
        config = self._config()
        player = self._player(self._task.part, self._task.arm, self._task.seed)
        player.restore(config.run.steps)
        found = role_gradients(
            config,
            player.policy,
            games=self._measuring.gradient_games,
            seed=self._measuring.seed,
        )
        write_text(self._output, json.dumps(found))

    def _choose(self) -> None:
        tuned = self._part().tuned
        if tuned is None:
            raise RedteamError("This part has no tuned arm.")
        scores = {}
        for name in tuned.candidates:
            values = [
                tuning_score(
                    self._layout.root
                    / Layout.record(f"{self._task.part}-tuning", MEASURE, name, s),
                    self._experiment.primary.suites,
                )
                for s in tuned.seeds
            ]
            scores[name] = float(np.mean(values))
        best = max(scores, key=lambda name: scores[name])
        write_text(
            self._output,
            json.dumps({"chosen": best, "auc": scores, "options": dict(tuned.candidates[best])}),
        )

    def _respond(self) -> None:
        part = self._part()
        against = str(part.against)
        config = self._attack_config()
        attacker = Player.make(
            "best_response",
            self._task.seed,
            config,
            temperatures={"attacker": self._measuring.attacker_temperature},
            trained=True,
        )
        attacker.restore(config.run.steps)
        arm = self._task.arm
        defender = self._player(against, arm, self._task.seed)
        if arm != BASE:
            defender.restore(self._run_config(against, arm).run.steps)
        write_table(self._output, self._meter().response(attacker, defender))

    def _attack_config(self) -> Any:
        part = self._part()
        out = self._layout.run(part.name, self._task.arm, self._task.seed)
        config = self._experiment.options(
            part, {"arrangement": "attacker_only"}, self._task.seed, out
        )
        if self._task.arm == BASE:
            return config
        run = self._layout.run(str(part.against), self._task.arm, self._task.seed)
        return replace(config, run=replace(config.run, opponent=str(run)))

    def _player(self, part: str, arm: str, seed: int) -> Player:
        return Player.make(
            arm,
            seed,
            self._run_config(part, arm, seed),
            temperatures={
                "attacker": self._measuring.attacker_temperature,
                "defender": self._measuring.defender_temperature,
            },
            trained=arm != BASE,
        )

    def _run_config(self, part: str, arm: str, seed: int | None = None) -> Any:
        task = replace(
            self._task, part=part, arm=arm, seed=self._task.seed if seed is None else seed
        )
        return run_config(self._experiment, self._layout, task)

    def _config(self) -> Any:
        return run_config(self._experiment, self._layout, self._task)

    def _part(self) -> Part:
        return self._experiment.part(self._task.part.removesuffix("-tuning"))

    @property
    def _measuring(self) -> Any:
        return self._experiment.measuring

    def _meter(self) -> Meter:
        values = {**self._experiment.training, **self._part().training}
        config = self._experiment.options(self._part(), {}, 0, Path("unused"))
        return Meter(str(values["model"]), build_game(config.game), self._measuring)


def tuning_score(file: Path, suites: Any) -> float:
    """Return the mean area under the ROC curve over suites, splits and checkpoints of a record."""
    rows = read_tables([file]).where(kind=SUITE, suite=tuple(suites))
    found = [roc(x["score"], x["harmful"]).auc for _, x in rows.by("step", "suite", "split")]
    return float(np.mean(found))


def _rounded(value: Any) -> Any:
    return round(value, 5) if isinstance(value, float) else value
