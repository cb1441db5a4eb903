"""What a command line says, before its options are parsed."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

HELP_ALL = "--help-all"
"""Asks for the help with all options."""
_everything = ContextVar("_everything", default=False)
_commanded = ContextVar("_commanded", default=False)


def option_of(name: str) -> str:
    """Return the option of a setting, such as ``--sft-file`` of ``sft_file``."""
    return f"--{name.replace('_', '-')}"


@contextmanager
def commanded() -> Iterator[None]:
    """Have :func:`spelled` write for a command line inside the block."""
    token = _commanded.set(True)
    try:
        yield
    finally:
        _commanded.reset(token)


def is_commanded() -> bool:
    """Whether a command works, and no program of the user's."""
    return _commanded.get()


def spelled(name: str, value: str) -> str:
    """Return how a user gives a setting: ``--judge lexical`` to a command, ``judge='lexical'`` in Python."""
    return f"{option_of(name)} {shlex.quote(value)}" if is_commanded() else f"{name}={value!r}"


def value_of(argv: Sequence[str], name: str) -> str | None:
    """Return the text that a setting is given on a command line; ``None`` if it is not given.

    Args:
        argv: The words.
        name: The setting's name.
    """
    for k, word in enumerate(argv):
        option, equals, value = word.partition("=")
        if option.replace("_", "-") != option_of(name):
            continue
        if equals:
            return value
        if k + 1 < len(argv):
            return argv[k + 1]
    return None


def named_in(argv: Sequence[str]) -> frozenset[str]:
    """Return the names of all settings that a command line gives."""
    options = (word.partition("=")[0] for word in argv if word.startswith("--"))
    return frozenset(option.removeprefix("--").replace("-", "_") for option in options)


def joined(argv: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return a command line on which each of some settings is given once: several values with commas between.

    Args:
        argv: The words.
        names: The settings that are lists.
    """
    found: dict[str, list[str]] = {}
    rest: list[str] = []
    words = iter(argv)
    for word in words:
        option, equals, value = word.partition("=")
        name = option.removeprefix("--").replace("-", "_")
        if not option.startswith("--") or name not in names:
            rest.append(word)
            continue
        given = value if equals else next(words, None)
        if given is None:  # the parser says what is missing
            rest.append(word)
        else:
            found.setdefault(name, []).append(given)
    return [*rest, *(f"{option_of(name)}={','.join(values)}" for name, values in found.items())]


@contextmanager
def help_of(arguments: Sequence[str]) -> Iterator[list[str]]:
    """Take ``--help-all`` for ``--help``, and have all options shown inside the block.

    Args:
        arguments: What stands behind a command's name.

    Yields:
        The same for the command, which knows ``--help`` only.
    """
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    asked = HELP_ALL in arguments[:end]
    given = ["--help" if x == HELP_ALL else x for x in arguments[:end]]
    token = _everything.set(asked)
    try:
        yield [*given, *arguments[end:]]
    finally:
        _everything.reset(token)


def all_asked() -> bool:
    """Whether help is to show all options."""
    return _everything.get()
