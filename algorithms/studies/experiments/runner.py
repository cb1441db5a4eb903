"""What an experiment needs to run: its directory, its manifest, its tasks in several processes."""

from functools import partial
from pathlib import Path
from typing import Any

from algorithms.studies import manifests
from algorithms.studies.experiments.config import Experiment, Part
from algorithms.studies.experiments.reading import experiment_from
from algorithms.studies.experiments.tasks import Task, tasks
from algorithms.studies.workers import Report, Workers
from redteam_env.game import RedteamError
from redteam_env.utils.files import sha256_of
from redteam_env.utils.packages import versions
from redteam_env.worlds import MODELS
from redteam_env.worlds.embedded import embedded_model

MANIFEST = "experiment.json"
SCHEMA = 1
STACK = ("redteam-env", "torch", "transformers", "peft", "numpy")
"""Distributions whose versions a manifest holds."""


def open_directory(experiment: Experiment, root: Path) -> None:
    """Make an experiment's directory, or check that it is this experiment's.

    Args:
        experiment: The experiment.
        root: Its directory.

    Raises:
        RedteamError: If it holds something else, or another manifest; the text shows the difference.
    """
    manifests.open_directory(root / MANIFEST, manifest_of(experiment), what="experiment")


def manifest_of(experiment: Experiment) -> dict[str, Any]:
    """Return everything that decides an experiment's results: configuration, base models, versions."""
    models = sorted(
        {
            str({**experiment.training, **part.training}.get("model", ""))
            for part in experiment.parts.values()
        }
    )
    return {
        "schema": SCHEMA,
        "experiment": experiment.source,
        "models": {name: weights_hash(name) for name in models},
        "versions": versions(STACK),
    }


def weights_hash(model: str) -> str:
    """Return the SHA-256 of an embedded or pretrained model's weights.

    Raises:
        RedteamError: If it has no such file.
    """
    directory = embedded_model(model) if model in MODELS else Path(model).expanduser()
    file = directory / "model.safetensors"
    if not file.is_file():
        raise RedteamError(
            f"The model {model!r} has no file {str(file)!r}; an experiment needs an embedded model "
            "or a directory that 'redteam-env worlds pretrain' wrote."
        )
    return sha256_of(file)


def run_part(experiment: Experiment, root: Path, workers: int, part: Part, report: Report) -> bool:
    """Do what a part still needs.

    Args:
        experiment: The experiment.
        root: Its directory, opened.
        workers: Processes.
        part: The part.
        report: Called as ``report(what was just done, done, total)``.

    Returns:
        Whether all is done; false after Ctrl-C.

    Raises:
        RedteamError: If a task fails, after the tasks under way have ended.
    """
    work = partial(_do, dict(experiment.source), str(root))
    return Workers(root, workers, work).run(tasks(experiment, part), report)


def _do(source: dict[str, Any], root: str, task: Task) -> str:
    from algorithms.studies.experiments.work import do  # noqa: PLC0415 - only workers compute

    return do(experiment_from(source), Path(root), task)
