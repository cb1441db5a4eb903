"""What docstrings say of settings, for the places that show them again."""

import inspect
import re
from typing import Any

_ENTRY = re.compile(r"^    (\w+): (\S.*(?:\n {5,}.*)*)", re.MULTILINE)


def attribute_docs(kind: Any) -> dict[str, str]:
    """Return what the docstring of a class says of each attribute, on one line.

    Args:
        kind: A class with a section ``Attributes:``; attributes that it leaves out are those of its
            bases.
    """
    docs: dict[str, str] = {}
    for base in kind.__mro__:
        listed = (inspect.getdoc(base) or "").partition("Attributes:\n")[2]
        for name, text in _ENTRY.findall(listed):
            docs.setdefault(name, " ".join(text.split()))
    return docs
