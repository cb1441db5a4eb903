"""A library of templates: the request in one well-known frame after the other.

The idea of every list of collected jailbreak prompts, such as the one that Shen et al. measured, "Do Anything
Now", arXiv 2308.03825. Simplified: our own library is short and mild; a user's file takes its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from redteam_env.attacks.search import Case, Search, SearchAttack
from redteam_env.envs.moves import SLOT, builtin_templates, read_templates
from redteam_env.game import RedteamError


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateAttack(SearchAttack):
    """Templates in their file's order, each once, up to the attempts.

    Attributes:
        file: A text file with one template a line, ``{text}`` where the request belongs; by default the
            built-in ones.
    """

    name: ClassVar[str] = "template"

    file: str | None = None
    _texts: Sequence[str] = field(init=False, repr=False, default=())

    def __post_init__(self) -> None:
        SearchAttack.__post_init__(self)
        texts = (
            builtin_templates("attacker") if self.file is None else read_templates(self.file).names
        )
        if bad := [x for x in texts if SLOT not in x]:
            raise RedteamError(
                f"The template {bad[0]!r} of {self.file!r} has no {SLOT}, so it would ask nothing; add it."
            )
        object.__setattr__(self, "_texts", texts)

    def search(self, case: Case) -> Search:
        """Send the request in one frame after the other."""
        for text in self._texts[: case.left]:
            if case.left:
                yield from case.attempt(text.replace(SLOT, case.goal))
