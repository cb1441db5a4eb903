"""How ``bench verify`` and ``experiment verify`` say what they found."""

from collections.abc import Sequence

from redteam_env.utils.console import make_console, print_json
from redteam_env.utils.text import safe_text


def print_verified(differences: Sequence[str], sound: str, *, as_json: bool) -> None:
    """Print what differs from a stored report, or that nothing does.

    Args:
        differences: What differs.
        sound: What is said of a report that holds.
        as_json: Print JSON instead of lines.
    """
    if as_json:
        print_json({"holds": not differences, "differences": list(differences)})
        return
    console = make_console()
    for line in differences:
        console.print(safe_text(f"differs: {line}"))
    console.print(f"{len(differences)} differences." if differences else sound)
