"""Evaluation while a run trains: suites every few steps, and the best checkpoint kept."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from algorithms.training.processes import play_shared
from redteam_env.border.policies import agent_of
from redteam_env.evaluation import measure
from redteam_env.evaluation.rates import defence
from redteam_env.evaluation.suites import reader, resolve_suite
from redteam_env.game import (
    ATTACKER,
    DEFENDER,
    RedteamError,
    Seed,
    at_least,
    check_fields,
    multiple_of,
)
from redteam_env.protocols import Callback, QuestionSuite, Row, SeedSource, TrainingRun
from redteam_env.rollout import ask
from redteam_env.runs import BEST
from redteam_env.utils.lists import listed

SCORE = "eval/score"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """How a run is evaluated while it trains.

    Attributes:
        eval_every: Steps between evaluations on suites; the last of all steps has one, too. 0 for none.
            Their tokens are not counted in max_tokens.
        eval_suites: Suites of requests to the defender, or of questions, with a comma between them.
        eval_games: Games or questions of each suite; the same ones each time.
        best_metric: Which name in metrics.jsonl chooses the checkpoint that is kept as checkpoints/best;
            eval/score is the mean of the suites' defence or share of right answers.
        best_mode: Whether more (max) or less (min) of it is better.
    """

    eval_every: Annotated[int, at_least(0)] = 0
    eval_suites: str = "raw"
    eval_games: Annotated[int, multiple_of(4)] = 64
    best_metric: str = SCORE
    best_mode: Literal["max", "min"] = "max"

    def __post_init__(self) -> None:
        check_fields(self)
        if self.eval_every and not self.suites:
            raise RedteamError(
                "eval_suites is empty; name at least one evaluation suite, such as raw."
            )

    @property
    def suites(self) -> tuple[str, ...]:
        """The names of the suites, each once."""
        return listed(self.eval_suites)


class Evaluation(Callback):
    """Evaluates the defender on suites every few steps.

    It answers as in training: with the current weights, at the same temperature. Each suite logs, as
    ``eval/SUITE/...``, rates of :class:`redteam_env.evaluation.Rates` under their names
    (``faithful_attack_success`` and ``over_refusal_rewritten`` of rewritten games, or
    ``raw_attack_success`` and ``over_refusal_raw``), and ``defence`` from both
    (:func:`redteam_env.evaluation.rates.defence`). A suite of questions logs ``right``, the share of
    right answers.

    Args:
        config: How often, and on what.
        source: Where seeds come from.
        seed: The run's seed.

    Raises:
        RedteamError: If a suite is unknown or cannot be made.
    """

    def __init__(self, config: EvaluationConfig, source: SeedSource, *, seed: int) -> None:
        self._config = config
        self._suites = {
            name: resolve_suite(name, source=source, games=config.eval_games, seed=seed)
            for name in config.suites
        }

    @property
    def seeds(self) -> dict[str, list[Seed]]:
        """The seeds that each suite asks, by its name; none of one that asks questions."""
        return {
            name: [x.seed for x in getattr(suite, "setups", ())]
            for name, suite in self._suites.items()
        }

    def on_start(self, run: TrainingRun) -> None:
        """Take note of the run.

        Raises:
            RedteamError: If a request of a suite is longer than the run's game takes.
        """
        self._run = run
        most = run.config.game.max_seed_chars
        for name, suite in self._suites.items():
            longest = max((len(x.seed.text) for x in getattr(suite, "setups", ())), default=0)
            if longest > most:
                raise RedteamError(
                    f"The suite {name!r} has requests of up to {longest} characters; max_seed_chars is "
                    f"{most}. Raise it, or leave the suite out."
                )

    def on_update(self, step: int, row: Row) -> None:
        """Evaluate if it is time."""
        if (step + 1) % self._config.eval_every == 0 or step + 1 == self._run.config.run.steps:
            started = time.monotonic()
            row |= self._measured()
            row["time/eval_s"] = time.monotonic() - started

    def _measured(self) -> Row:
        row: Row = {}
        scores = []
        for name, suite in self._suites.items():
            found = self._answers(suite) if isinstance(suite, QuestionSuite) else self._games(suite)
            row |= {f"eval/{name}/{what}": value for what, value in found.items()}
            scores.append(found.get("defence", found.get("right")))
        known = [score for score in scores if score is not None]
        row[SCORE] = sum(known) / len(known) if known else None
        return row

    def _games(self, suite: Any) -> Row:
        run = self._run
        agents = {DEFENDER: agent_of(run.policy, "defender")}
        rewritten = any(x.rewritten for x in suite.setups)
        if rewritten:
            agents[ATTACKER] = suite.attacker()
        episodes = play_shared(run, suite.setups, agents, reader(suite, run.judge))
        rates = measure(episodes)
        success = "faithful_attack_success" if rewritten else "raw_attack_success"
        refusal = "over_refusal_rewritten" if rewritten else "over_refusal_raw"
        attacks, refusals = getattr(rates, success).value, getattr(rates, refusal).value
        row: Row = {success: attacks, refusal: refusals, "defence": None, "void": rates.void}
        if attacks is not None and refusals is not None:
            row["defence"] = defence(attacks, refusals)
        return row

    def _answers(self, suite: QuestionSuite) -> Row:
        replies = ask(agent_of(self._run.policy, "defender"), suite.requests)
        right = [suite.right(k, reply.text) for k, reply in enumerate(replies)]
        return {"right": sum(right) / len(right)}


class BestCheckpoint(Callback):
    """Keeps the checkpoint of the best evaluation as ``checkpoints/best``.

    Args:
        config: When a run is evaluated, and what is best.
    """

    name = "best_checkpoint"

    def __init__(self, config: EvaluationConfig) -> None:
        self._config = config
        self._best: float | None = None

    def on_start(self, run: TrainingRun) -> None:
        """Take note of the run."""
        self._run = run

    def on_update(self, step: int, row: Row) -> None:
        """Keep the run as it is if it was evaluated and never better.

        Raises:
            RedteamError: If the step does not log what is to be best.
        """
        metric = self._config.best_metric
        if SCORE not in row:
            return
        if metric not in row and self._best is None and self._run.batches:
            raise RedteamError(
                f"best_metric is {metric!r}, which this step does not log; it logs "
                f"{', '.join(sorted(row))}."
            )
        value = row.get(metric)
        if value is None or not math.isfinite(value):
            return
        sign = 1 if self._config.best_mode == "max" else -1
        if self._best is None or sign * value > sign * self._best:
            self._best = float(value)
            row["eval/best"] = self._best
            self._run.save(BEST)

    def state(self) -> Mapping[str, Any]:
        """Return the best value so far, and of what."""
        return {} if self._best is None else {"best": self._best, **self._measure}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go back to a best value; one of another metric is forgotten."""
        if {name: state[name] for name in self._measure} == self._measure:
            self._best = float(state["best"])

    @property
    def _measure(self) -> dict[str, str]:
        return {"metric": self._config.best_metric, "mode": self._config.best_mode}
