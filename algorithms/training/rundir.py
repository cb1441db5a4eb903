"""When a run directory may be written to, and what is safe in it when the machine refuses to go on."""

import dataclasses
import difflib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from algorithms.training.config import FREE, TrainConfig
from redteam_env.game import RedteamError
from redteam_env.runs import CONFIG, SEEDS, Run
from redteam_env.trust import in_words_of
from redteam_env.utils.files import is_empty, write_text
from redteam_env.utils.locks import held
from redteam_env.utils.machine import refusal


def open_run(config: TrainConfig) -> Run:
    """Return the directory of a run that may be started or resumed; writes nothing.

    Args:
        config: The run.

    Returns:
        The directory.

    Raises:
        RedteamError: If it holds something and ``resume`` is off, or holds another run.
    """
    path = place_of(config)
    named = str(path)
    if path.exists() and not path.is_dir():
        raise RedteamError(f"{named!r} is a file; give a directory as --out.")
    run = Run(path)
    stored = run.stored_config()
    if stored is None:
        if path.is_dir() and not is_empty(path, but=SEEDS):
            raise RedteamError(
                f"{named!r} is not empty and holds no run; give another directory as --out."
            )
        return run
    if not config.run.resume:
        raise RedteamError(
            f"{named!r} holds a run already; go on with --resume, or give another --out."
        )
    given = json.loads(json.dumps(config.flat()))
    differences = changed(completed(stored, config), in_words_of(run, given))
    if differences:
        listed = "; ".join(f"{k}: {a!r} there, {b!r} now" for k, (a, b) in differences.items())
        raise RedteamError(
            f"{named!r} was started with other options ({listed}). Leave them out to resume, or "
            "give another --out."
        )
    return run


@contextmanager
def held_run(config: TrainConfig, *, leads: bool = True, seeds: str | None = None) -> Iterator[Run]:
    """Hold the directory of a run that may be started or resumed, as long as it is written to.

    Args:
        config: The run.
        leads: Whether this is the process that writes; of several that train one run, one does.
        seeds: The seeds that are kept in the directory, as JSON lines, if the run was given any.

    Yields:
        The directory, as :func:`open_run` returns it.

    Raises:
        RedteamError: If another process writes there; whatever :func:`open_run` raises; and if the machine
            refuses something meanwhile, with what of the run is safe.
    """
    place = place_of(config)
    with held(place) if leads else nullcontext():
        try:
            run = open_run(config)
            if seeds is not None:
                _keep_seeds(run, seeds, leads=leads)
            yield run
        except Exception as error:
            if (refused := refusal(error)) is None:
                raise
            what, remedy = refused
            raise RedteamError(f"{what}. {_safe(place)} {remedy}; then {_next(place)}") from error


def _keep_seeds(run: Run, text: str, *, leads: bool) -> None:
    """Write the seeds that were given into a run's directory, unless they are there.

    Args:
        run: The run, which may have begun already.
        text: The content of the file.
        leads: Whether this is the process that writes.

    Raises:
        RedteamError: If the run has begun with others.
    """
    file = run.path / SEEDS
    if run.stored_config() is None:
        if leads:
            write_text(file, text)
    elif not file.is_file() or file.read_text(encoding="utf-8") != text:
        raise RedteamError(
            f"{str(run.path)!r} was started with other seeds, or its {SEEDS} was changed; give the ones it "
            "was started with, or another out."
        )


def check_room(run: Run, weights: int = 0) -> None:
    """Refuse a disk that cannot take another checkpoint, before anything is played.

    Args:
        run: The run directory, which is there.
        weights: The bytes of the trained weights, if they are known already. The run's last checkpoint says
            more.

    Raises:
        RedteamError: If fewer bytes are free than a checkpoint takes.
    """
    last = [
        x
        for checkpoint in run.checkpoints()[-1:]
        for x in checkpoint.path.rglob("*")
        if x.is_file()
    ]
    needed = max(weights, sum(x.stat().st_size for x in last))
    free = shutil.disk_usage(run.path).free
    if free < needed:
        raise RedteamError(
            f"A checkpoint takes at least {needed:,} bytes, and the disk of {str(run.path)!r} has {free:,} "
            "free. Make room there, or give another --out."
        )


def _safe(place: Path) -> str:
    """Return which step of a run is safe."""
    if not place.is_dir():
        return f"{str(place)!r} is not there any more."
    try:
        checkpoints = Run(place).checkpoints()
    except OSError as error:
        return f"{str(place)!r} cannot be looked at ({error.strerror})."
    if not checkpoints:
        return f"{str(place)!r} has no checkpoint yet."
    return f"Safe is step {checkpoints[-1].step}: {str(checkpoints[-1].path)!r}."


def _next(place: Path) -> str:
    begun = (place / CONFIG).is_file()
    return "--resume goes on from there." if begun else "give the same command again."


def check_resumable(config: TrainConfig) -> None:
    """Refuse to resume what is not there; a typing error would train it from the start.

    Raises:
        RedteamError: If the directory holds no run; the text names the nearest that does.
    """
    place = place_of(config)
    if not config.run.resume or Run(place).stored_config() is not None:
        return
    found = [x.parent for x in place.parent.glob(f"*/{CONFIG}")] if place.parent.is_dir() else []
    near = difflib.get_close_matches(place.name, [x.name for x in found], n=1)
    guess = f" Did you mean {str(place.parent / near[0])!r}?" if near else ""
    raise RedteamError(
        f"{str(place)!r} holds no run to resume.{guess} Leave --resume out to start one there."
    )


def place_of(config: TrainConfig) -> Path:
    """Return the directory of a run."""
    return Path(config.run.out or f"runs/{config.arrangement}-{config.run.seed}")


def completed(stored: Mapping[str, Any], config: TrainConfig) -> dict[str, Any]:
    """Return a stored configuration with the defaults of options that its version did not have.

    Args:
        stored: A run's flat configuration.
        config: Says which components there are.
    """
    fields = [x for part in config.parts for x in dataclasses.fields(part)]
    known = {x.name: x.default for x in fields if x.default is not dataclasses.MISSING}
    return {**known, **stored}


def changed(stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the options in which a resumed run differs from its ``config.json``.

    Args:
        stored: The run's flat configuration.
        given: The one asked for now.

    Returns:
        Stored and given value of every option that must stay and does not.
    """
    return {
        name: (stored.get(name), given.get(name))
        for name in sorted(set(stored) | set(given))
        if name not in FREE and stored.get(name) != given.get(name)
    }
