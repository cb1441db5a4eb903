"""What a command line says, before its options are parsed."""

from collections.abc import Sequence


def option_of(name: str) -> str:
    """Return the option of a setting, such as ``--sft-file`` of ``sft_file``."""
    return f"--{name.replace('_', '-')}"


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
