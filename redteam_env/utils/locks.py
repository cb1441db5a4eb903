"""One process at a time in a directory of results.

Two trainings that write into one directory mix their rows, and both end as if nothing were wrong. So
whoever writes holds the directory from opening it until the end; the operating system lets go of it when the
process ends, however it ends. Where it has no such locks (some network file systems, Windows) nothing is held.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from redteam_env.game import RedteamError
from redteam_env.utils.files import LOCK, make_folder
from redteam_env.utils.reading import parse_json, read_bytes

if sys.platform != "win32":
    import fcntl

_MOST_BYTES = 1000


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a directory of results, made if it is missing; one that stayed empty is removed at the end.

    Args:
        folder: The directory.

    Raises:
        RedteamError: If another process holds it, with that one's id and start; or if the directory cannot
            be made.
    """
    made = not folder.exists()
    try:
        make_folder(folder)
        handle = _taken(folder)
    except OSError as error:
        if made:
            with suppress(OSError):
                folder.rmdir()
        what = "is a file" if folder.is_file() else f"cannot be used ({error.strerror})"
        raise RedteamError(f"{str(folder)!r} {what}; give another directory as --out.") from error
    try:
        yield
    finally:
        if handle is not None:
            _let_go(folder, handle)
        if made:
            with suppress(OSError):  # it holds results
                folder.rmdir()


def _taken(folder: Path) -> int | None:
    """Return the handle of the locked file; ``None`` where files cannot be locked."""
    if sys.platform == "win32":
        return None
    file = folder / LOCK
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise RedteamError(
                f"{str(folder)!r} is in use{_holder(file)}; wait until that has ended, or give another --out."
            ) from error
        except OSError:  # a file system without locks
            os.close(handle)
            return None
        # whoever held it may have removed the file between our opening and locking it
        with suppress(FileNotFoundError):
            if os.fstat(handle).st_ino == file.stat().st_ino:
                try:
                    os.truncate(handle, 0)
                    os.write(handle, json.dumps(_ourselves()).encode())
                except OSError:
                    _let_go(folder, handle)
                    raise
                return handle
        os.close(handle)


def _let_go(folder: Path, handle: int) -> None:
    with suppress(OSError):
        (folder / LOCK).unlink()
    os.close(handle)


def _ourselves() -> dict[str, str | int]:
    started = time.strftime("%Y-%m-%d %H:%M:%S %z")
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": started}


def holder_of(folder: Path) -> str | None:
    """Return who holds a directory, such as ``by process 12 on 'host' since '...'``; nothing is locked.

    Args:
        folder: The directory.

    Returns:
        The words; ``None`` if it has no lock, or that of a process of this machine that has ended.
    """
    file = folder / LOCK
    if not file.is_file():
        return None
    try:
        found = parse_json(read_bytes(file, most=_MOST_BYTES), place=str(file))
        if found["host"] == socket.gethostname():
            os.kill(int(found["pid"]), 0)
    except ProcessLookupError:
        return None
    except (RedteamError, OSError, ValueError, KeyError, TypeError, OverflowError):
        pass  # half-written, or a process of somebody else: it may well run
    return _holder(file).strip()


def _holder(file: Path) -> str:
    """Return who holds a directory, as far as its file says so."""
    try:
        found = parse_json(read_bytes(file, most=_MOST_BYTES), place=str(file))
        return f" by process {int(found['pid'])} on {str(found['host'])!r} since {str(found['since'])!r}"
    except (RedteamError, OSError, ValueError, KeyError, TypeError):
        return " by another process"
