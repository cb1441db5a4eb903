"""The instruction texts of the seats, read from files beside the code or from a user's directory.

The texts are our own wording and tell each seat the rules it is paid by. A directory with files of
the same names replaces them, so that a paper's own prompts can be used.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from redteam_env.game.errors import RedteamError

SEED_SLOT = "{seed}"
NAMES = ("attacker_harmful", "attacker_benign", "attacker_request", "defender", "thinking")


@dataclass(frozen=True, slots=True)
class Prompts:
    """Instruction texts by name.

    Attributes:
        texts: One text for each of ``attacker_harmful``, ``attacker_benign`` (the attacker's rules
            for the two kinds of seed), ``attacker_request`` (carries the seed at ``{seed}``),
            ``defender`` and ``thinking`` (added for a seat that must think).
    """

    texts: Mapping[str, str]

    def __post_init__(self) -> None:
        missing = [name for name in NAMES if not self.texts.get(name, "").strip()]
        if missing:
            raise RedteamError(
                f"The prompts {missing} are missing or empty; needed: {list(NAMES)}."
            )
        if self.texts["attacker_request"].count(SEED_SLOT) != 1:
            raise RedteamError(
                f"attacker_request must hold {SEED_SLOT} exactly once, not "
                f"{self.texts['attacker_request']!r}."
            )

    @property
    def digest(self) -> str:
        """First 12 hex digits of the SHA-256 of all texts, for run manifests."""
        joined = "\0".join(self.texts[name] for name in NAMES)
        return hashlib.sha256(joined.encode()).hexdigest()[:12]

    def rules(self, role: str, *, harmful: bool, must_think: bool) -> str:
        """Return a role's instruction without the seed.

        Args:
            role: ``attacker`` or ``defender``.
            harmful: The seed's label, which chooses the attacker's text.
            must_think: Whether the thinking instruction is added.

        Returns:
            The text of the system message.
        """
        attacker = "attacker_harmful" if harmful else "attacker_benign"
        text = self.texts[attacker if role == "attacker" else role]
        return f"{text}\n{self.texts['thinking']}" if must_think else text

    def request(self, seed_text: str) -> str:
        """Return the attacker's user message: the seed in its slot."""
        return self.texts["attacker_request"].replace(SEED_SLOT, seed_text)


@cache
def load_prompts(directory: str | None = None) -> Prompts:
    """Read the instruction texts.

    Args:
        directory: A folder with the files ``attacker_harmful.txt`` and so on (:data:`NAMES`), or
            ``None`` for the built-in ones.

    Returns:
        The texts, stripped of surrounding blank space.

    Raises:
        RedteamError: If a file is missing, empty, not UTF-8, or has no slot for the seed.
    """
    root = resources.files("redteam_env.game") / "prompts" if directory is None else Path(directory)
    texts = {}
    for name in NAMES:
        try:
            texts[name] = (root / f"{name}.txt").read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise RedteamError(
                f"Cannot read the prompt {name}.txt in {str(directory)!r}: {error}. The folder "
                f"needs the files {', '.join(f'{x}.txt' for x in NAMES)}."
            ) from error
    return Prompts(texts)
