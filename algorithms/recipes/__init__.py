"""The recipe cards of the papers (:mod:`redteam_env.recipes`)."""

from pathlib import Path

HOME = Path(__file__).parent
EXAMPLES = HOME / "tiny_examples.jsonl"
"""Supervised examples of both roles that ``--scale tiny`` puts in the place of a recipe's."""


def papers() -> Path:
    """Return the folder of the cards."""
    return HOME
