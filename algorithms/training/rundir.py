"""When a run directory may be written to."""

import difflib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from algorithms.training.config import TrainConfig, changed, completed
from redteam_env.game import RedteamError
from redteam_env.runs import CONFIG, Run
from redteam_env.utils.locks import LOCK, held


def open_run(config: TrainConfig) -> Run:
    """Return the directory of a run that may be started or resumed; writes nothing.

    Args:
        config: The run.

    Returns:
        The directory.

    Raises:
        RedteamError: If it holds something and ``resume`` is off, or holds another run.
    """
    path = _place(config)
    named = str(path)
    if path.exists() and not path.is_dir():
        raise RedteamError(f"{named!r} is a file; give a directory as --out.")
    run = Run(path)
    stored = run.stored_config()
    if stored is None:
        if path.is_dir() and any(x.name != LOCK for x in path.iterdir()):
            raise RedteamError(
                f"{named!r} is not empty and holds no run; give another directory as --out."
            )
        return run
    if not config.run.resume:
        raise RedteamError(
            f"{named!r} holds a run already; go on with --resume, or give another --out."
        )
    differences = changed(completed(stored, config), json.loads(json.dumps(config.flat())))
    if differences:
        listed = "; ".join(f"{k}: {a!r} there, {b!r} now" for k, (a, b) in differences.items())
        raise RedteamError(
            f"{named!r} was started with other options ({listed}). Leave them out to resume, or "
            "give another --out."
        )
    return run


@contextmanager
def held_run(config: TrainConfig, *, leads: bool = True) -> Iterator[Run]:
    """Hold the directory of a run that may be started or resumed, as long as it is written to.

    Args:
        config: The run.
        leads: Whether this is the process that writes; of several that train one run, one does.

    Yields:
        The directory, as :func:`open_run` returns it.

    Raises:
        RedteamError: If another process writes there, and whatever :func:`open_run` raises.
    """
    if not leads:
        yield open_run(config)
        return
    with held(_place(config)):
        yield open_run(config)


def check_resumable(config: TrainConfig) -> None:
    """Refuse to resume what is not there; a typing error would train it from the start.

    Raises:
        RedteamError: If the directory holds no run; the text names the nearest that does.
    """
    place = _place(config)
    if not config.run.resume or Run(place).stored_config() is not None:
        return
    found = [x.parent for x in place.parent.glob(f"*/{CONFIG}")] if place.parent.is_dir() else []
    near = difflib.get_close_matches(place.name, [x.name for x in found], n=1)
    guess = f" Did you mean {str(place.parent / near[0])!r}?" if near else ""
    raise RedteamError(
        f"{str(place)!r} holds no run to resume.{guess} Leave --resume out to start one there."
    )


def _place(config: TrainConfig) -> Path:
    return Path(config.run.out or f"runs/{config.arrangement}-{config.run.seed}")
