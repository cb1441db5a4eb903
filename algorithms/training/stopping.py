"""When a run ends before its last step: a metric is good enough or no longer improves, or games fail."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from redteam_env.game import Episode, RedteamError, at_least, check_fields
from redteam_env.protocols import Callback, Row, TrainingRun


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppingConfig:
    """When a run ends early.

    Attributes:
        stop_metric: A name in metrics.jsonl to end the run by, such as defender/reward; with
            stop_above, stop_below or stop_patience.
        stop_above: End once the metric is above this.
        stop_below: End once the metric is below this.
        stop_patience: End once so many of its values in a row were no better than the best before; 0
            for no such end.
        stop_mode: Whether more (max) or less (min) is better, for stop_patience.
        void_steps: End, as failed, once so many steps in a row had more than half of their games void
            because one of judge and players did not answer. The step is played again so often, and
            not learned from; --resume takes it. 0 to go on with the other games.
    """

    stop_metric: str | None = None
    stop_above: float | None = None
    stop_below: float | None = None
    stop_patience: Annotated[int, at_least(0)] = 0
    stop_mode: Literal["max", "min"] = "max"
    void_steps: Annotated[int, at_least(0)] = 2

    def __post_init__(self) -> None:
        check_fields(self)
        rules = [self.stop_above is not None, self.stop_below is not None, self.stop_patience > 0]
        if (self.stop_metric is None) == any(rules):
            raise RedteamError(
                f"stop_metric is {self.stop_metric!r}; it goes with stop_above, stop_below or "
                "stop_patience: give a metric and at least one of these, or none of all."
            )


class StopOnMetric(Callback):
    """Ends a run once a metric says so.

    Args:
        config: Which metric, and how.
    """

    name = "stop_on_metric"

    def __init__(self, config: StoppingConfig) -> None:
        self._config = config
        self._best: float | None = None
        self._last: float | None = None
        self._waited = 0

    def on_start(self, run: TrainingRun) -> None:
        """Take note of the run; end it at once if its last step was enough."""
        self._run = run
        self._check()

    def on_update(self, step: int, row: Row) -> None:
        """Look at the metric of a step; steps without it count for nothing.

        Raises:
            RedteamError: If it is not logged by the step that logs everything, evaluations included.
        """
        config, name = self._config, str(self._config.stop_metric)
        value = row.get(name)
        if value is None or not math.isfinite(value):
            if (
                name not in row
                and self._best is None
                and self._run.batches
                and step >= self._longest_wait
            ):
                raise RedteamError(
                    f"stop_metric is {name!r}, which no step logs; metrics.jsonl has "
                    f"{', '.join(sorted(row))}."
                )
            return
        self._last = float(value)
        sign = 1 if config.stop_mode == "max" else -1
        if self._best is None or sign * value > sign * self._best:
            self._best, self._waited = float(value), 0
        else:
            self._waited += 1
        self._check()

    @property
    def _longest_wait(self) -> int:
        """The step by which every metric was logged, those of an evaluation included."""
        return max(0, int(self._run.config.evaluation.eval_every) - 1)

    def _check(self) -> None:
        config, name, last = self._config, self._config.stop_metric, self._last
        if last is not None and config.stop_above is not None and last > config.stop_above:
            self._run.stop(f"{name} is {last:.4g}, above {config.stop_above:g}")
        if last is not None and config.stop_below is not None and last < config.stop_below:
            self._run.stop(f"{name} is {last:.4g}, below {config.stop_below:g}")
        if 0 < self._config.stop_patience <= self._waited:
            self._run.stop(
                f"{self._config.stop_metric} was no better than {self._best:.4g} for {self._waited} "
                "values"
            )

    def state(self) -> Mapping[str, Any]:
        """Return the best value so far, of what, and how many were no better since."""
        if self._best is None:
            return {}
        counted = {"best": self._best, "last": self._last, "waited": self._waited}
        return {**counted, **self._measure}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go back to a state; one of another metric is forgotten."""
        if {name: state[name] for name in self._measure} == self._measure:
            self._best, self._last = float(state["best"]), float(state["last"])
            self._waited = int(state["waited"])

    @property
    def _measure(self) -> dict[str, str]:
        return {"metric": str(self._config.stop_metric), "mode": self._config.stop_mode}


class UnansweredError(Exception):
    """A step whose games are mostly void: it is not learned from, and not spent."""


def mostly_void(episodes: Sequence[Episode]) -> str | None:
    """Return why more than half of some games are void; ``None`` if they are not.

    Games are void for one reason if the same one failed: the judge, or the player of a role.

    Args:
        episodes: The games of a step.
    """
    reasons = [x.void for x in episodes if x.void is not None]
    failed = Counter(reason.partition(":")[0] for reason in reasons)
    for who, count in failed.most_common(1):
        if 2 * count > len(episodes):
            own = Counter(reason for reason in reasons if reason.partition(":")[0] == who)
            return own.most_common(1)[0][0]
    return None


class StopOnVoid(Callback):
    """Ends a run whose games are mostly void, where a step learns while it plays and is spent.

    Args:
        steps: Steps in a row, at least 1.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._void = 0

    def on_start(self, run: TrainingRun) -> None:
        """Take note of the run."""
        self._run = run

    def on_update(self, step: int, row: Row) -> None:
        """Count steps whose games were mostly void."""
        reason = mostly_void(self._run.episodes)
        self._void = 0 if reason is None else self._void + 1
        if self._void >= self._steps:
            self._run.stop(
                f"more than half of the games of {self._void} steps in a row were void ({reason})",
                failed=True,
            )
