"""String constants of Python source that is read and never executed.

Papers publish their texts as constants of a module. Importing it would run a stranger's program, and need
whatever that imports.
"""

import ast

from redteam_env.game.errors import RedteamError

MOST_CHARACTERS = 2**20
"""Of a string; a few lines can double one sixty times."""


def constants_in(source: str, what: str) -> dict[str, str]:
    """Return the strings that a module, or a class in it, gives names to.

    A string may be written out, be another name's, or be several of these with ``+`` between them.

    Args:
        source: The module's text.
        what: What an error calls it, such as ``The source``.

    Returns:
        Values by name, in a class by ``Class.NAME``; a name that is given several strings has the last of
        them. Strings of more than 2**20 characters are left out.

    Raises:
        RedteamError: If it is no Python.
    """
    try:
        left: list[tuple[str, ast.stmt]] = [("", node) for node in ast.parse(source).body[::-1]]
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise RedteamError(f"{what} is no Python: {error}.") from error
    found: dict[str, str] = {}
    while left:
        where, node = left.pop()
        if isinstance(node, ast.ClassDef):
            left += [(f"{where}{node.name}.", x) for x in node.body[::-1]]
        elif isinstance(node, ast.Assign):
            value = _value(node.value, found, where)
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            if value is not None:
                found.update(dict.fromkeys([f"{where}{name}" for name in names], value))
    return found


def _value(node: ast.expr, known: dict[str, str], where: str) -> str | None:
    """Return the string that an expression stands for, ``None`` if it is none of the simple ones.

    In a class (``where``) its own names come before the module's.
    """
    parts: list[str] = []
    left = [node]
    while left:
        part = left.pop()
        if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Add):
            left += [part.right, part.left]
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            parts.append(part.value)
        elif isinstance(part, ast.Name) and {part.id, f"{where}{part.id}"} & known.keys():
            parts.append(known.get(f"{where}{part.id}", known.get(part.id, "")))
        else:
            return None
    return "".join(parts) if sum(map(len, parts)) <= MOST_CHARACTERS else None
