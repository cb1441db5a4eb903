"""What is taken out of what others will see: players' texts, and secrets in options."""

import os
import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "[hidden]"
"""What stands in the place of a secret."""
_LEAST = 8
"""Characters of a variable's value that is looked for in options; shorter ones may be ordinary words."""
_WORDS = "key|token|secret|password|passwd|credential|auth"
_NAME = re.compile(rf"(?:^|[_-])(?:{_WORDS})s?$", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^/\s@,]+(?=@)")
_PAIR = re.compile(rf"(?<=[?&])([\w.-]*(?:{_WORDS})s?)=([^&,\s]+)", re.IGNORECASE)


def redacted(text: str) -> str:
    """Return what stands in the place of a player's text: its length."""
    return f"[redacted: {len(text)} characters]" if text else ""


def without_secrets(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options without keys and passwords.

    Hidden are user names and passwords in addresses, the values of options whose names say that they are
    keys, tokens, secrets or passwords, behind ``?`` too, and the values of such variables of the environment.

    Args:
        options: Values by name.
    """
    variables = [
        value for name, value in os.environ.items() if _NAME.search(name) and len(value) >= _LEAST
    ]
    return {
        name: HIDDEN if _NAME.search(name) and isinstance(value, str) else _hidden(value, variables)
        for name, value in options.items()
    }


def _hidden(value: Any, variables: list[str]) -> Any:
    if isinstance(value, Mapping):
        return without_secrets(value)
    if isinstance(value, list | tuple):
        return [_hidden(x, variables) for x in value]
    if not isinstance(value, str):
        return value
    for secret in variables:
        value = value.replace(secret, HIDDEN)
    return _PAIR.sub(rf"\1={HIDDEN}", _USER.sub(HIDDEN, value))
