"""Doing the tasks of a part in several processes: resumable, interruptible, one thread each."""

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from algorithms.experiments.config import Experiment, Part
from algorithms.experiments.reading import experiment_from
from algorithms.experiments.tasks import Task, tasks
from algorithms.rundir import versions, write_text
from redteam_env.game import RedteamError
from redteam_env.packages import sha256_of
from redteam_env.worlds import MODELS
from redteam_env.worlds.embedded import embedded_model

MANIFEST = "experiment.json"
SCHEMA = 1
_STACK = ("redteam-env", "torch", "transformers", "peft", "numpy")
Report = Callable[[str, int, int], None]


def open_directory(experiment: Experiment, root: Path) -> None:
    """Make an experiment's directory, or check that it is this experiment's.

    Args:
        experiment: The experiment.
        root: Its directory.

    Raises:
        RedteamError: If it holds something else, or another manifest; the text shows the difference.
    """
    wanted = manifest_of(experiment)
    file = root / MANIFEST
    if not file.is_file():
        if root.exists() and (not root.is_dir() or any(root.iterdir())):
            raise RedteamError(
                f"{str(root)!r} is not empty and holds no experiment; give another --out."
            )
        write_text(file, json.dumps(wanted, indent=1))
        return
    check_manifest(file, wanted)


def check_manifest(file: Path, wanted: Mapping[str, Any], *, option: str = "--out") -> None:
    """Refuse the directory of another experiment.

    Args:
        file: Its manifest.
        wanted: This experiment's.
        option: The option by which a user names another directory.

    Raises:
        RedteamError: If the manifest differs or cannot be read.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RedteamError(
            f"{str(file)!r} cannot be read ({error}); give another {option}."
        ) from error
    differences = list(_differences(found, wanted, ""))
    if differences:
        listed = "; ".join(differences[:5])
        more = f" and {len(differences) - 5} more" if len(differences) > 5 else ""
        raise RedteamError(
            f"{str(file.parent)!r} holds results of another manifest ({listed}{more}). Results of "
            f"different manifests are never mixed: give another {option}, or the configuration and "
            "versions it was started with."
        )


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
        "models": {name: _weights_hash(name) for name in models},
        "versions": versions(_STACK),
    }


def _weights_hash(model: str) -> str:
    directory = embedded_model(model) if model in MODELS else Path(model).expanduser()
    file = directory / "model.safetensors"
    if not file.is_file():
        raise RedteamError(
            f"The model {model!r} has no file {str(file)!r}; an experiment needs an embedded model "
            "or a directory that 'redteam-env worlds pretrain' wrote."
        )
    return sha256_of(file)


def _differences(found: Any, wanted: Any, where: str) -> Any:
    if isinstance(found, dict) and isinstance(wanted, dict):
        for name in sorted({*found, *wanted}):
            place = f"{where}.{name}" if where else name
            yield from _differences(found.get(name), wanted.get(name), place)
    elif found != wanted:
        yield f"{where}: {found!r} there, {wanted!r} now"


class Pool:
    """Runs tasks in processes, each once everything it needs exists.

    Args:
        experiment: The experiment.
        root: Its directory, opened.
        workers: Processes.
    """

    def __init__(self, experiment: Experiment, root: Path, workers: int) -> None:
        self._experiment = experiment
        self._root = root
        self._workers = workers

    def run(self, part: Part, report: Report) -> bool:
        """Do what a part still needs.

        Args:
            part: The part.
            report: Called as ``report(what was just done, done, total)``.

        Returns:
            Whether all is done; false after Ctrl-C. Finished tasks are kept, a run that was being
            trained goes on from its last step.

        Raises:
            RedteamError: If a task fails, after the tasks under way have ended.
        """
        every = tasks(self._experiment, part)
        waiting = [task for task in every if not self._done(task.output)]
        total, done = len(every), len(every) - len(waiting)
        report("starting", done, total)
        if not waiting:
            return True
        context = multiprocessing.get_context("spawn")
        running: dict[Future[str], Task] = {}
        failure: BaseException | None = None
        interrupted = False
        with ProcessPoolExecutor(
            min(self._workers, len(waiting)), mp_context=context, initializer=_prepare
        ) as pool:
            while waiting or running:
                try:
                    if failure is None and not interrupted:
                        self._submit(pool, waiting, running)
                    if not running:
                        break
                    ended, _ = wait(running, return_when=FIRST_COMPLETED)
                except KeyboardInterrupt:
                    if interrupted:
                        _signal(pool, signal.SIGKILL)
                        raise
                    interrupted = True
                    _signal(pool, signal.SIGINT)
                    report("stopping after the current steps", done, total)
                    continue
                for future in ended:
                    task = running.pop(future)
                    try:
                        if future.result() == "done":
                            done += 1
                            report(task.title, done, total)
                    except (RedteamError, BrokenProcessPool) as error:
                        failure = failure or error
        if isinstance(failure, RedteamError):
            raise failure
        if failure is not None:
            raise RedteamError(
                "A worker process ended by itself (out of memory, perhaps); what was done is kept. "
                "Run the same command again, with fewer --workers if it happens again."
            ) from failure
        if waiting and not interrupted:
            raise RedteamError(f"{waiting[0].title} needs files that nothing makes.")
        return not interrupted

    def _submit(
        self, pool: ProcessPoolExecutor, waiting: list[Task], running: dict[Future[str], Task]
    ) -> None:
        for task in list(waiting):
            if len(running) >= self._workers:
                return
            if all(self._done(name) for name in task.needs):
                waiting.remove(task)
                future = pool.submit(_do, dict(self._experiment.source), str(self._root), task)
                running[future] = task

    def _done(self, output: str) -> bool:
        return (self._root / output).is_file()


def _signal(pool: ProcessPoolExecutor, number: int) -> None:
    processes: Sequence[Any] = list((getattr(pool, "_processes", None) or {}).values())
    for process in processes:
        if process.is_alive():
            os.kill(process.pid, number)


def _prepare() -> None:
    """Set a worker process up: its own group, so that Ctrl-C reaches it through its parent only."""
    os.environ["OMP_NUM_THREADS"] = "1"
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    import torch  # noqa: PLC0415 - only workers compute

    torch.set_num_threads(1)


def _follow(parent: Any) -> None:
    parent.join()
    os._exit(1)


def _do(source: dict[str, Any], root: str, task: Task) -> str:
    from algorithms.experiments.work import do  # noqa: PLC0415 - only workers compute

    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return do(experiment_from(source), Path(root), task)
    except KeyboardInterrupt:
        return "interrupted"
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
