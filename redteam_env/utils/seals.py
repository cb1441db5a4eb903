"""A seal on what this account wrote, by which it is told from what others hand over.

The key is made once for each account and lies in its state directory, readable by nobody else. So a seal
holds wherever a file is copied or moved to, for the account that set it and for no other, and only as long
as the words under it are the same.
"""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs

_BYTES = 32


def seal(content: Mapping[str, Any]) -> str | None:
    """Return the seal of plain JSON; ``None`` where this account can keep no key."""
    key = _key()
    if key is None:
        return None
    text = json.dumps(content, sort_keys=True)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def is_sealed(content: Mapping[str, Any], mark: object) -> bool:
    """Whether this account set the seal, and what it stands for is unchanged.

    Args:
        content: Plain JSON.
        mark: What :func:`seal` returned for it, or whatever stands in its place.
    """
    expected = seal(content)
    return (
        expected is not None
        and isinstance(mark, str)
        and hmac.compare_digest(mark.encode(), expected.encode())
    )


def _key() -> bytes | None:
    """Return this account's key, made if there is none."""
    file = Path(platformdirs.user_state_dir("redteam_env")) / "seal.key"
    for _ in range(2):
        with suppress(OSError):
            found = file.read_bytes()
            return found if len(found) == _BYTES else None
        with suppress(OSError):
            _make(file)
    return None


def _make(file: Path) -> None:
    """Write a new key, whole and only if there is none: another process may make one, too."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(secrets.token_bytes(_BYTES))
        os.link(aside, file)
    finally:
        aside.unlink()
