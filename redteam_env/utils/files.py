"""Files that are whole or absent, JSON that is checked when it is read, and manifests of folders.

Write with :func:`write_text` or, whatever else is to be written, inside :func:`write_aside`: a reader
sees the old content or the new one and never a part, even after a power failure. Read with
:func:`read_json` or :func:`read_record`: what is wrong becomes one line that names the file, the fault
and the remedy.
"""

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from redteam_env.game import RedteamError
from redteam_env.utils.reading import parse_json, read_bytes

MANIFEST = "manifest.json"
_SCHEMA = 1
LOCK = ".lock"
"""The file by which one process holds a directory (:mod:`redteam_env.utils.locks`): no part of its content."""
_OLD, _PARTIAL = ".old", ".partial"


def write_text(file: Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all; its folder is made."""
    with write_aside(file) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def write_aside(place: Path, *, shared: bool = False) -> Iterator[Path]:
    """Write a file or a folder, whole or not at all.

    The caller makes it under the hidden name that this yields, ``.NAME.partial`` beside the place.
    Afterwards it is forced onto the disk and renamed; after an error it is removed. A folder that is
    there now is called ``.NAME.old`` for the moment between two renamings, and comes back if the second
    one fails. :func:`written_folder` finds it there if the process was killed in between.

    Args:
        place: Where it is to be. The folder above is made; what is there now is replaced.
        shared: Whether other processes may write the same place. Then the hidden name is unlike any
            other, a file is replaced by whoever ends last, and a folder is never replaced unless it
            is empty.

    Yields:
        The hidden name; nothing is there.

    Raises:
        OSError: If it cannot be written, or a shared folder is there already.
    """
    unique = f".{secrets.token_hex(8)}" if shared else ""
    partial = place.with_name(f".{place.name}{unique}{_PARTIAL}")
    make_folder(place.parent)
    _put_back(place)  # both of a process that was killed
    _remove(partial)
    try:
        yield partial
        _sync_tree(partial)
        if shared and place.is_dir():
            _clear_empty(place, partial)
        _rename(partial, place, replace=not shared)
    finally:
        _remove(partial)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, and force their names onto the disk; one that is there is left alone."""
    missing = [x for x in (folder, *folder.parents) if not x.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync(made.parent)


def is_empty(folder: Path, *, but: str = LOCK) -> bool:
    """Whether a folder holds nothing but a lock and what a killed process left half written.

    Args:
        folder: The folder.
        but: The name of another file that may be there.
    """
    return all(
        x.name in {LOCK, but} or (x.name.startswith(".") and x.name.endswith(_PARTIAL))
        for x in folder.iterdir()
    )


def written_folder(place: Path) -> Path:
    """Return where the folder is that :func:`write_aside` wrote.

    Args:
        place: Where it was to be.

    Returns:
        The place itself, or the old folder beside it if a process was killed while it replaced that.
    """
    old = _old(place)
    return old if not place.exists() and old.is_dir() else place


def written_names(folder: Path) -> set[str]:
    """Return the names in a folder, those that :func:`written_folder` finds beside them included."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    old = (x for x in names if x.startswith(".") and x.endswith(_OLD))
    return {*names, *(x.removeprefix(".").removesuffix(_OLD) for x in old)}


def _old(place: Path) -> Path:
    return place.with_name(f".{place.name}{_OLD}")


def _rename(partial: Path, place: Path, *, replace: bool) -> None:
    """Rename what was written; a folder in its place is kept until the new one is there."""
    try:
        if replace and place.is_dir():
            place.replace(_old(place))
        partial.replace(place)
        sync(place.parent)
    finally:
        _put_back(place)


def _put_back(place: Path) -> None:
    """Undo half a replacement; after a whole one, remove the old folder."""
    old = _old(place)
    if old.is_dir() and place.exists():
        _remove(old)
    elif old.is_dir():
        old.replace(place)


def _clear_empty(place: Path, partial: Path) -> None:
    """Make room for a new folder if the one there is empty, and take its permissions over."""
    shutil.copymode(place, partial)
    with suppress(OSError):  # not empty: renaming fails
        place.rmdir()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sync_tree(path: Path) -> None:
    """Force a file, or a folder with all that is in it, onto the disk."""
    for inner in path.iterdir() if path.is_dir() else ():
        _sync_tree(inner)
    sync(path)


def sync(path: Path) -> None:
    """Force the bytes of a file, or the entries of a folder, onto the disk."""
    if os.name == "nt":  # folders cannot be opened there
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # some network file systems cannot
            raise
    finally:
        os.close(descriptor)


def append_line(file: Path, line: str) -> None:
    """Append a line to a text file; :func:`sync` forces it onto the disk."""
    with file.open("a", encoding="utf-8", newline="\n") as stream:
        stream.write(f"{line}\n")


def read_json(file: Path, *, remedy: str) -> Any:
    """Read a JSON file.

    Args:
        file: The file.
        remedy: What to do if it cannot be read: a sentence.

    Returns:
        Its content.

    Raises:
        RedteamError: If it is missing, cannot be read, or as
            :func:`~redteam_env.utils.reading.parse_json`.
    """
    try:
        content = read_bytes(file)
    except OSError as error:
        raise RedteamError(f"{str(file)!r} cannot be read ({error.strerror}). {remedy}") from error
    return parse_json(content, place=repr(str(file)), remedy=remedy)


def read_record(
    file: Path, *, remedy: str, schema: int | None = None, needed: Sequence[str] = ()
) -> dict[str, Any]:
    """Read a JSON file that holds an object of a known form.

    Args:
        file: The file.
        remedy: What to do if it cannot be read: a sentence.
        schema: What its key ``schema`` must be; ``None`` for files without one.
        needed: Other keys it must have.

    Returns:
        The object.

    Raises:
        RedteamError: If it is missing, damaged, no object, of another schema, or lacks a key.
    """
    record = read_json(file, remedy=remedy)
    if not isinstance(record, dict):
        raise RedteamError(f"{str(file)!r} holds no JSON object. {remedy}")
    wanted = [*(["schema"] if schema is not None else []), *needed]
    missing = [key for key in wanted if key not in record]
    if missing:
        raise RedteamError(f"{str(file)!r} lacks {', '.join(missing)}. {remedy}")
    if schema is not None and record["schema"] != schema:
        raise RedteamError(
            f"{str(file)!r} has schema {record['schema']!r}; this version reads {schema}. Use the "
            "version that wrote it."
        )
    return record


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a folder, by its path in it."""
    files = sorted(x for x in folder.rglob("*") if x.is_file() and x.name != LOCK)
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}


def check_digests(folder: Path, digests: Mapping[str, str], *, what: str, remedy: str) -> None:
    """Compare the files of a folder with what :func:`digests_of` returned.

    Args:
        folder: The folder; files that have no digest are not looked at.
        digests: The SHA-256 of each file, by its path in the folder.
        what: What the files belong to, for messages.
        remedy: What to do if one differs: a sentence.

    Raises:
        RedteamError: If a file is missing or was altered; it names the file.
    """
    for name, digest in digests.items():
        path = folder / name
        if not path.is_file():
            raise RedteamError(f"{what} lacks the file {str(path)!r}. {remedy}")
        if sha256_of(path) != digest:
            raise RedteamError(
                f"{what} is damaged: {str(path)!r} was altered after it was saved. {remedy}"
            )


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the manifest of a folder that is otherwise complete.

    Args:
        folder: The folder.
        facts: What else the manifest is to say.
    """
    record = {"schema": _SCHEMA, **facts, "files": digests_of(folder)}
    (folder / MANIFEST).write_text(json.dumps(record, indent=1), encoding="utf-8")


def verify_manifest(folder: Path) -> dict[str, Any]:
    """Check every file of a checkpoint against its manifest; return what the manifest says.

    Args:
        folder: The checkpoint.

    Raises:
        RedteamError: If the manifest or a file is missing, or a file was altered; it names the file.
    """
    remedy = f"Restore it, or remove {str(folder)!r} to use the checkpoint before."
    record = read_record(folder / MANIFEST, remedy=remedy, schema=_SCHEMA, needed=["files"])
    if not isinstance(record["files"], dict):
        raise RedteamError(f"{str(folder / MANIFEST)!r} lists no files. {remedy}")
    check_digests(folder, record["files"], what=f"The checkpoint {str(folder)!r}", remedy=remedy)
    return record
