"""A disk that is full, read-only or torn away at a chosen moment.

Python's own ways to a file are replaced while it is in use (``open``, ``os.open``, ``os.write``, ``os.fsync``,
``os.replace``, ``os.rename``, ``os.mkdir``), and so are the writers of safetensors, torch and pyarrow, whose native
code opens files by itself. Only what lies in one folder is counted and fails.
"""

import builtins
import errno
import inspect
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

from redteam_env.testing.faults.when import When

_NATIVE = (
    ("safetensors.torch", "serialize_file"),
    ("safetensors.numpy", "serialize_file"),
    ("torch", "save"),
    ("pyarrow.parquet", "write_table"),
)
"""Writers in native code, all of which take the file as their second argument."""

_OPEN = inspect.signature(io.open)


@dataclass(slots=True, kw_only=True)
class FaultyDisk:
    """What happened on a faulty disk.

    Attributes:
        folder: The folder that is watched, links in it resolved.
        when: Which operations fail; it counts them.
        number: The error that they fail with, one of :mod:`errno`.
        crash: Whether the process is killed instead.
        failed: The operations that failed, such as ``("write", "/runs/a/metrics.jsonl")``.
    """

    folder: str
    when: When
    number: int
    crash: bool
    failed: list[tuple[str, str]] = field(default_factory=list, init=False)
    _own: set[tuple[int, int]] = field(default_factory=set, init=False)

    def inside(self, place: Any) -> str | None:
        """Return a path if it lies in the folder."""
        if isinstance(place, int):
            return None
        try:
            path = os.path.abspath(os.fsdecode(place))  # noqa: PTH100 - also of bytes
        except TypeError:  # an open file
            return None
        return path if path == self.folder or path.startswith(f"{self.folder}{os.sep}") else None

    def remember(self, descriptor: int) -> None:
        """Take note of an open file, so that operations on its number count."""
        found = os.fstat(descriptor)
        self._own.add((found.st_dev, found.st_ino))

    def owns(self, descriptor: int) -> bool:
        """Whether a file of the folder is open under a number."""
        found = os.fstat(descriptor)
        return (found.st_dev, found.st_ino) in self._own

    def try_(
        self,
        operation: str,
        place: str,
        half: Callable[[], Any] = lambda: None,
        error: Callable[[OSError], Exception] = lambda x: x,
    ) -> None:
        """Count an operation, and let it fail if it is time.

        Args:
            operation: What is done.
            place: With what.
            half: Does half of it first.
            error: Turns the system's error into that of a library.
        """
        if not self.when.due():
            return
        self.failed.append((operation, place))
        half()
        if self.crash:
            os.kill(os.getpid(), signal.SIGKILL)
        where = () if operation in {"write", "fsync"} else (place,)  # as the system tells it
        raise error(OSError(self.number, os.strerror(self.number), *where))


class _File(io.FileIO):
    """A file that writes may fail on; half of the bytes are there then."""

    def __init__(self, disk: FaultyDisk, place: str, *rest: Any) -> None:
        super().__init__(*rest)
        self._disk, self._place = disk, place
        disk.remember(self.fileno())

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        write = super().write
        self._disk.try_("write", self._place, lambda: write(view[: len(view) // 2]))
        return int(write(view) or 0)


def _opener(disk: FaultyDisk, true: Callable[..., Any]) -> Callable[..., Any]:
    def opened(file: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
        place = disk.inside(file)
        if place is not None:
            disk.try_("open", place)
        if place is None or not set(mode) & set("wax+"):
            return true(file, mode, *rest, **more)
        given = _OPEN.bind(file, mode, *rest, **more)
        given.apply_defaults()
        buffering, encoding, errors, newline, closefd, opener = given.args[2:]
        raw = _File(disk, place, file, mode.replace("b", "").replace("t", ""), closefd, opener)
        if buffering == 0:
            return raw
        size = buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE
        buffered = io.BufferedRandom(raw, size) if "+" in mode else io.BufferedWriter(raw, size)
        if "b" in mode:
            return buffered
        return io.TextIOWrapper(buffered, encoding, errors, newline, buffering == 1)

    return opened


def _numbered(disk: FaultyDisk, true: Callable[..., Any], operation: str) -> Callable[..., Any]:
    """Return an operation on the number of an open file."""

    def tried(descriptor: int, *rest: Any) -> Any:
        if disk.owns(descriptor):
            disk.try_(operation, f"file {descriptor}")
        return true(descriptor, *rest)

    return tried


def _named(disk: FaultyDisk, true: Callable[..., Any], operation: str) -> Callable[..., Any]:
    """Return an operation on paths."""

    def tried(place: Any, *rest: Any, **more: Any) -> Any:
        inside = disk.inside(place) or (operation == "rename" and rest and disk.inside(rest[0]))
        if inside:
            disk.try_(operation, inside)
        found = true(place, *rest, **more)
        if operation == "open" and inside:
            disk.remember(found)
        return found

    return tried


def _native(disk: FaultyDisk, true: Callable[..., Any]) -> Callable[..., Any]:
    """Return a writer in native code; half of its file is there when it fails."""

    def tried(content: Any, file: Any, *rest: Any, **more: Any) -> Any:
        def half() -> None:
            true(content, file, *rest, **more)
            os.truncate(file, os.path.getsize(file) // 2)  # noqa: PTH202 - any kind of path

        place = disk.inside(file)
        if place is not None:
            disk.try_(
                "write", place, half, _as_rust if "serialize" in true.__name__ else lambda x: x
            )
        return true(content, file, *rest, **more)

    return tried


def _as_rust(error: OSError) -> Exception:
    """Return what safetensors makes of an error of the system."""
    made: Exception = import_module("safetensors").SafetensorError(
        f"Error while serializing: I/O error: {error.strerror} (os error {error.errno})"
    )
    return made


@contextmanager
def faulty_disk(
    folder: str | os.PathLike[str],
    when: When,
    *,
    number: int = errno.ENOSPC,
    crash: bool = False,
) -> Iterator[FaultyDisk]:
    """Let operations on files in a folder fail, in this process and all its threads.

    Args:
        folder: The folder; it need not exist yet.
        when: Which operations fail. Opening (to read, too), writing, forcing onto the disk, renaming and making a
            folder count.
        number: What they fail with, such as ``errno.EROFS``.
        crash: Kill the process with SIGKILL instead of raising. A write is half done then.

    Yields:
        What happened.
    """
    disk = FaultyDisk(folder=str(Path(folder).absolute()), when=when, number=number, crash=crash)
    opened = _opener(disk, io.open)
    replaced: list[tuple[Any, str, Callable[..., Any]]] = [
        (builtins, "open", opened),
        (io, "open", opened),
        (os, "open", _named(disk, os.open, "open")),
        (os, "mkdir", _named(disk, os.mkdir, "mkdir")),
        (os, "replace", _named(disk, os.replace, "rename")),
        (os, "rename", _named(disk, os.rename, "rename")),
        (os, "write", _numbered(disk, os.write, "write")),
        (os, "fsync", _numbered(disk, os.fsync, "fsync")),
    ]
    for module, name in _NATIVE:
        if (loaded := sys.modules.get(module)) is not None:
            replaced.append((loaded, name, _native(disk, getattr(loaded, name))))
    with ExitStack() as stack:
        for owner, name, tried in replaced:
            stack.enter_context(patch.object(owner, name, tried))
        yield disk
