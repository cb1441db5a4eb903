"""What a file of somebody else's names, and reaches beyond itself, is used only if the user says so.

A run directory, an adapter or a leaderboard may come from anybody. An address, a key's variable or a path
in it would send texts and keys, or read files, where its author likes. So whoever reads one out of such a
file calls :func:`confirm` before using it. A user who names the same thing on the command line has said
so, and is not asked; nor is one who said yes to the same question before, in the same process.
"""

import sys

from redteam_env.game import RedteamError
from redteam_env.utils.text import escape_controls

_confirmed: set[str] = set()


def confirm(what: str, *, source: str, named_by: str) -> None:
    """Ask the person at the terminal; refuse where there is none.

    Args:
        what: What would be used, with the host and the key's variable if it has them.
        source: Which file or directory names it.
        named_by: The words that name it on the command line.

    Raises:
        RedteamError: If nobody sits there, or the answer is no; the text has the words to add.
    """
    told = escape_controls(f"{source} names {what}")
    if told in _confirmed:
        return
    if has_person():
        sys.stderr.write(f"{told}. Use it? [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() in {"y", "yes"}:
            _confirmed.add(told)
            return
    raise RedteamError(
        f"{told}. That is not used unless you name it yourself; if you trust it, add "
        f"{escape_controls(named_by)}."
    )


def has_person() -> bool:
    """Whether somebody sits at a terminal and can be asked."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))
