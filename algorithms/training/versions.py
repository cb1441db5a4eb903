"""Frozen versions of weights on disk: folders that never change, named by the checkpoints that need them."""

import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from redteam_env.game import RedteamError
from redteam_env.utils.files import check_digests, digests_of, write_aside


class Versions:
    """The frozen versions ``NAME@VERSION`` of a run.

    Args:
        folder: Where they lie, a folder each.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, dict[str, str]] = {}

    def add(self, name: str, write: Callable[[Path], None]) -> None:
        """Write a version, whole or not at all; one that is there is left alone.

        Args:
            name: Its name.
            write: Writes it into a new folder.
        """
        if name in self._files:
            return
        place = self._folder / name
        self._folder.mkdir(exist_ok=True)  # a run that is gone is an error, and none is made anew
        with write_aside(place) as partial:
            write(partial)
        self._files[name] = digests_of(place)

    def place(self, name: str) -> Path:
        """Return the folder of a version.

        Raises:
            RedteamError: If there is no such version.
        """
        if name not in self._files:
            raise RedteamError(
                f"The opponent sampler asked for {name!r}, which is not frozen; there are "
                f"{sorted(self._files)}."
            )
        return self._folder / name

    def drop(self, name: str) -> None:
        """Forget a version; :meth:`tidy` removes its files when no checkpoint names them."""
        self.place(name)
        del self._files[name]

    def state(self) -> Mapping[str, Mapping[str, str]]:
        """Return the SHA-256 of every file of every version, as plain JSON."""
        return self._files

    def load_state(self, state: Mapping[str, Mapping[str, str]], checkpoint: Path) -> None:
        """Go back to versions of a checkpoint, after checking every file.

        Args:
            state: What :meth:`state` returned.
            checkpoint: The checkpoint's folder, for the error.

        Raises:
            RedteamError: If a version is gone or was altered; it is named.
        """
        remedy = (
            f"Restore it, or remove {str(checkpoint)!r} to resume from the checkpoint before, if that "
            "does not need it."
        )
        for name, files in state.items():
            what = f"The opponent {name!r}"
            check_digests(self._folder / name, files, what=what, remedy=remedy)
        self._files = {name: dict(files) for name, files in state.items()}

    def tidy(self, needed: Iterable[str]) -> None:
        """Remove the files of versions that are neither known here nor needed elsewhere."""
        kept = {*self._files, *needed}
        for place in self._folder.iterdir() if self._folder.is_dir() else ():
            if place.is_dir() and place.name not in kept:
                shutil.rmtree(place)
