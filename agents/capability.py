"""What a model can still do: tasks of lm-eval on a policy's weights, its adapter attached.

A defender that refuses everything is safe and useless, so the papers report capability beside safety. Here
the EleutherAI Language Model Evaluation Harness asks the model as it stands in memory, through its Python
API; nothing is merged or saved. The papers' tasks are :data:`PAPERS`, those of Self-RedTeam's official
evaluation (``eval/full_eval.sh``: arc_challenge, gpqa, mmlu, truthfulqa and bbh) with ifeval, which it takes
from OLMES, and gsm8k. It asks them without a chat template.
"""

import copy
import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

from agents.lora.store import Store
from redteam_env.evaluation.statistics import Interval, wilson
from redteam_env.game import RedteamError

PAPERS = (
    *("arc_challenge", "gpqa_main_zeroshot", "mmlu", "truthfulqa_mc1", "bbh_cot_fewshot"),
    *("ifeval", "gsm8k"),
)
GROUPS: Mapping[str, tuple[str, ...]] = {"papers": PAPERS}
"""Groups of tasks by name; groups of lm-eval, such as ``mmlu``, are names of theirs."""
BINARY = (
    *("acc", "acc_norm", "acc_mutual_info", "acc_bytes", "exact_match"),
    *("prompt_level_strict_acc", "prompt_level_loose_acc"),
)
"""The metrics of lm-eval that are 1 or 0 for each question, of which the mean is a share."""
_NEEDED = "capability needs lm_eval: pip install 'redteam-env[capability]'"
_BOOTSTRAPS = 1000
_NEAR = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One metric of one task.

    Attributes:
        task: The task or group of tasks, as lm-eval calls it.
        metric: Such as ``acc``, with lm-eval's filter behind a comma where there is one.
        value: Its value.
        interval: 95 %: Wilson's for a share of right answers (:data:`BINARY`), for other metrics from
            lm-eval's own standard error; ``None`` without one.
        questions: How many were asked.
    """

    task: str
    metric: str
    value: float
    interval: Interval | None
    questions: int

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {
            "task": self.task,
            "metric": self.metric,
            "value": self.value,
            "interval": self.interval and self.interval.to_json(),
            "questions": self.questions,
        }


def task_names(spec: Sequence[str]) -> list[str]:
    """Return the tasks that some names stand for, each once.

    Args:
        spec: Names of tasks, or of our groups (:data:`GROUPS`).
    """
    return list(dict.fromkeys(task for name in spec for task in GROUPS.get(name, (name,))))


class Harness:
    """Asks tasks of lm-eval.

    Args:
        include: A folder with tasks of one's own (YAML files), which may name local data. They are asked
            in place of lm-eval's of the same name.
        builtin: Whether lm-eval's own tasks are known, too; finding them takes half a minute.

    Raises:
        RedteamError: If lm-eval is not installed or the folder is missing.
    """

    def __init__(self, include: Path | None = None, *, builtin: bool = True) -> None:
        if include is not None and not include.is_dir():
            raise RedteamError(f"There is no folder of tasks {str(include)!r}; check the path.")
        try:
            from lm_eval.tasks import TaskManager  # noqa: PLC0415 - an extra, and slow to import
        except ImportError as error:
            raise RedteamError(_NEEDED) from error
        place = None if include is None else str(include)
        self._tasks = TaskManager(include_path=place, include_defaults=builtin)

    def check(self, tasks: Sequence[str]) -> None:
        """Refuse tasks that are not known.

        Raises:
            RedteamError: Naming the first unknown one and those that are called alike.
        """
        known = self._tasks.all_tasks
        for task in tasks:
            if task not in known:
                near = difflib.get_close_matches(task, known, n=_NEAR)
                guess = f" Alike: {', '.join(near)}." if near else ""
                raise RedteamError(
                    f"Unknown task {task!r}.{guess} Groups: {', '.join(GROUPS)}; 'lm-eval ls tasks' "
                    "lists lm-eval's."
                )

    def measure(
        self,
        store: Store,
        weights: str,
        task: str,
        *,
        limit: int | None = None,
        batch_size: int = 8,
        chat: bool = False,
    ) -> list[Score]:
        """Ask one task.

        Args:
            store: Holds the model and its adapters; none of its weights change.
            weights: Which of them answer.
            task: The task or group.
            limit: Most questions of each task; of a group, of each of its tasks.
            batch_size: Questions in one pass.
            chat: Whether questions stand in the model's chat template.

        Returns:
            A score for each of its metrics; of a group that has none of its own, those of its tasks.

        Raises:
            RedteamError: If the task's data cannot be had or lm-eval fails.
        """
        from lm_eval import simple_evaluate  # noqa: PLC0415 - an extra, and slow to import
        from lm_eval.models.huggingface import HFLM  # noqa: PLC0415 - the same

        with store.using(weights) as model:
            asked = HFLM(
                pretrained=model,
                tokenizer=copy.deepcopy(store.base.tokenizer),  # it is given another padding
                backend="causal",
                batch_size=batch_size,
            )
            try:
                found = simple_evaluate(
                    asked,
                    tasks=[task],
                    task_manager=self._tasks,
                    limit=limit,
                    apply_chat_template=chat,
                    bootstrap_iters=_BOOTSTRAPS,
                    log_samples=False,
                )
            except Exception as error:  # it passes on whatever its data's transport raises
                reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
                raise RedteamError(
                    f"The task {task!r} cannot be asked ({reason}). Its data come from the hub: check "
                    "the connection and its terms, or put a task of the same name with local data into "
                    "a folder and name it with --include."
                ) from error
        scores = _scores(task, found["results"].get(task, {}))
        members = found.get("group_subtasks", {}).get(task, ())
        return scores or [x for name in members for x in _scores(name, found["results"][name])]


def _scores(task: str, row: Mapping[str, Any]) -> list[Score]:
    """Return the metrics of a row of lm-eval's results, whose names are ``metric,filter``."""
    scores = []
    counts = row.get("sample_count", {})  # of a group; a task has sample_len
    for name, value in row.items():
        metric, comma, chosen = name.partition(",")
        if not comma or metric.endswith("_stderr") or not _is_finite(value):
            continue
        n = int(counts.get(name, row.get("sample_len", 0)))
        error = row.get(f"{metric}_stderr,{chosen}")
        scores.append(
            Score(
                task=task,
                metric=metric if chosen == "none" else f"{metric},{chosen}",
                value=float(value),
                interval=_interval(metric, value, error, n, grouped=bool(counts)),
                questions=n,
            )
        )
    return scores


def _interval(metric: str, value: float, error: Any, n: int, *, grouped: bool) -> Interval | None:
    """Return the 95 % interval of a metric; ``None`` if lm-eval gives no standard error of it.

    Whether values are all 0 or 1 shows in their standard error: of all values from 0 to 1 with one mean they
    have the largest. So ``acc`` of a task such as truthfulqa_mc2, a mean of probabilities, is told from a
    share of right answers. A group's error is pooled from its tasks, and shows nothing of the kind.
    """
    known = _is_finite(error) and error >= 0
    if metric in BINARY and n > 0 and 0 <= value <= 1:
        largest = math.sqrt(value * (1 - value) / (n - 1)) if n > 1 else 0.0
        if grouped or not known or math.isclose(error, largest, rel_tol=1e-6, abs_tol=1e-9):
            return wilson(round(value * n), n)
    if not known or not error:
        return None
    half = NormalDist().inv_cdf(0.975) * error
    return Interval(value - half, value + half)


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
