"""What docstrings say of settings and plug-ins, for the places that show them again."""

import ast
import importlib.util
import inspect
import re
from importlib.machinery import ModuleSpec
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


def static_summary(target: Any) -> str | None:
    """Return the first line of the docstring of what a target names; its module is read, not imported.

    Args:
        target: ``module:attribute``, or the thing itself. The packages above the module are imported.

    Returns:
        The line, empty if it has none; ``None`` if there is no such module, or it cannot be read.
    """
    if not isinstance(target, str):
        return _first_line(getattr(target, "__doc__", None))
    module, _, attribute = target.partition(":")
    try:
        tree = ast.parse(_source(importlib.util.find_spec(module), module))
    except (ImportError, SyntaxError, ValueError):
        return None
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == attribute:
            return _first_line(ast.get_docstring(node))
    return ""


def _source(spec: ModuleSpec | None, module: str) -> str:
    read = getattr(spec and spec.loader, "get_source", None)
    source = read(module) if read is not None else None
    if source is None:
        raise ImportError(module)
    return str(source)


def _first_line(text: str | None) -> str:
    return next(iter((text or "").strip().splitlines()), "")
