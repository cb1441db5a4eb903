"""What the machine refuses: a full disk, a missing permission, too many open files, memory, a place that is gone.

Such an error is nobody's mistake in the program, so it is one line for the user: what was refused, where, and
what helps.
"""

import errno
import os
import re

_REMEDIES = {
    (errno.ENOSPC, errno.EDQUOT): "Make room on that disk",
    (errno.EFBIG,): "Raise the limit on the size of files (ulimit -f)",
    (errno.EROFS, errno.EACCES, errno.EPERM): "Give it a place where you may write",
    (errno.EMFILE, errno.ENFILE): "Raise the limit on open files (ulimit -n)",
    (errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.ENODEV, errno.ENXIO): "See where it went",
    (errno.ENAMETOOLONG, errno.ELOOP): "Give another path",
    (errno.EIO, errno.EBUSY, errno.ETIMEDOUT): "Look after that disk",
    (errno.ENOMEM,): "Free memory, or take smaller batches",
}
_REMEDY_OF = {number: remedy for numbers, remedy in _REMEDIES.items() for number in numbers}
_USED_UP = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM))
_NATIVE = re.compile(r"\(os error (\d+)\)")
"""How libraries written in Rust, such as safetensors, end the text of an error of the system."""
_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory", re.IGNORECASE)
"""What torch says in a RuntimeError when a GPU or the machine has no memory left."""


def refusal(error: BaseException) -> tuple[str, str] | None:
    """Return what the machine refused and what helps, ``None`` for an error of another kind.

    Args:
        error: Any error; those of native libraries are recognised by their text.

    Returns:
        Two texts without a full stop, such as ``no space left on device: '/runs/a/metrics.jsonl'`` and
        ``Make room on that disk``.
    """
    number = _number(error)
    if number not in _REMEDY_OF:
        return None
    what = os.strerror(number)
    place = getattr(error, "filename", None)
    where = "" if place is None else f": {os.fsdecode(place)!r}"
    return f"{what[:1].lower()}{what[1:]}{where}", _REMEDY_OF[number]


def used_up(error: BaseException) -> bool:
    """Return whether the machine has no room, files or memory left, which is not the fault of who asked for it."""
    return _number(error) in _USED_UP


def _number(error: BaseException) -> int | None:
    """Return the number of an error of the system, though it came as another one."""
    if isinstance(error, OSError):
        return error.errno
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - it cannot tell
        return None
    if isinstance(error, RuntimeError) and _MEMORY.search(text):
        return errno.ENOMEM
    found = _NATIVE.search(text) if isinstance(error, Exception) else None
    return int(found[1]) if found else None
