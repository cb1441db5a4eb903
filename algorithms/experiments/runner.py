"""Doing the tasks of a part in several processes: resumable, interruptible, one thread each."""

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
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
_LOOK_S = 0.2
"""How often it is looked whether Ctrl-C was pressed."""
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
        told = False
        with (
            ProcessPoolExecutor(
                min(self._workers, len(waiting)), mp_context=context, initializer=_prepare
            ) as pool,
            _ctrl_c(pool) as pressed,
        ):
            while True:
                if failure is None and not pressed:
                    try:
                        self._submit(pool, waiting, running)
                    except BrokenProcessPool as broken:
                        failure = broken
                if not running:
                    break
                ended, _ = wait(running, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
                if pressed and not told:
                    _signal(pool, signal.SIGINT)
                    report("stopping after the current steps", done, total)
                    told = True
                for future in ended:
                    task = running.pop(future)
                    error = future.exception()
                    if error is None and future.result() == "done":
                        done += 1
                        report(task.title, done, total)
                    failure = failure or error
        if pressed and isinstance(failure, BrokenProcessPool | KeyboardInterrupt | None):
            return False
        if isinstance(failure, BrokenProcessPool):
            raise RedteamError(
                "A worker process ended by itself (out of memory, perhaps); what was done is kept. "
                "Run the same command again, with fewer --workers if it happens again."
            ) from failure
        if failure is not None:
            raise failure
        if waiting:
            raise RedteamError(f"{waiting[0].title} needs files that nothing makes.")
        return True

    def _submit(
        self, pool: ProcessPoolExecutor, waiting: list[Task], running: dict[Future[str], Task]
    ) -> None:
        for task in list(waiting):
            if len(running) >= self._workers:
                return
            if all(self._done(name) for name in task.needs):
                waiting.remove(task)
                with _held_back():
                    future = pool.submit(_do, dict(self._experiment.source), str(self._root), task)
                running[future] = task

    def _done(self, output: str) -> bool:
        return (self._root / output).is_file()


@contextmanager
def _ctrl_c(pool: ProcessPoolExecutor) -> Iterator[list[int]]:
    """Note the first Ctrl-C; a second one kills the workers and raises as usual.

    The first is handed on by the loop: here a worker may be just being started, and would miss it.
    """
    pressed: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        pressed.append(number)
        if len(pressed) > 1:
            _signal(pool, signal.SIGKILL)
            raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGINT, note)
    except ValueError:  # not in the main thread: the caller's own handling stays
        yield pressed
        return
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _held_back() -> Iterator[None]:
    """Hold Ctrl-C back while a worker is started; it inherits that until it is ready for one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _signal(pool: ProcessPoolExecutor, number: int) -> None:
    processes: Sequence[Any] = list((getattr(pool, "_processes", None) or {}).values())
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


_stopped = threading.Event()
"""In a worker: that Ctrl-C was pressed while it did nothing."""


def _prepare() -> None:
    """Set a worker process up: its own group, so that Ctrl-C reaches it through its parent only."""
    os.environ["OMP_NUM_THREADS"] = "1"
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, _stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    if not _stopped.is_set():
        import torch  # noqa: PLC0415 - only workers compute

        torch.set_num_threads(1)


def _stop(*_: Any) -> None:
    _stopped.set()


def _follow(parent: Any) -> None:
    parent.join()
    os._exit(1)


def _do(source: dict[str, Any], root: str, task: Task) -> str:
    if _stopped.is_set():
        return "interrupted"
    from algorithms.experiments.work import do  # noqa: PLC0415 - only workers compute

    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if _stopped.is_set():
            return "interrupted"
        return do(experiment_from(source), Path(root), task)
    except KeyboardInterrupt:
        return "interrupted"
    finally:
        signal.signal(signal.SIGINT, _stop)
