"""Which judge it was: what must be the same for its verdicts to be the same.

What is stored about a judge (its verdicts, its calibration) holds for that judge only: for its name, its
revision, and the prompt by which its model is asked. A judge that does not say its revision, such as a server
that tells nothing of its model, is known by its address and its settings at most. What is measured of
it is kept for these, and whoever reads it is told that the model behind them may be another one by now.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from redteam_env.border.judges import said
from redteam_env.protocols import Judge


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What tells a judge from others.

    Attributes:
        name: What reports call it.
        revision: Changes whenever its verdicts may, such as with its model; empty if it does not say.
        template: SHA-256 of the prompt by which its model is asked; empty for judges without one.
        place: Of a judge that does not say its revision, where it is asked, and its settings; empty if that
            is not known either.
    """

    name: str
    revision: str = ""
    template: str = ""
    place: str = ""

    @property
    def known(self) -> bool:
        """Whether what is measured of it can be found again for it: it has a revision or a place."""
        return bool(self.revision or self.place)

    @property
    def key(self) -> str:
        """The SHA-256 of all of it, in hex."""
        return digest(self.to_json())

    def to_json(self) -> dict[str, str]:
        """Return plain JSON."""
        return asdict(self)


def digest(value: Any) -> str:
    """Return the SHA-256, in hex, of what is plain JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("ascii")).hexdigest()


def identity_of(judge: Judge) -> Identity:
    """Return which judge it is.

    A judge says so by its attributes ``revision`` and ``template_sha256``, and without a revision by its
    attribute ``place``.

    Args:
        judge: The judge.

    Raises:
        RedteamError: If one of them is no text.
    """
    revision = said(judge, "revision")
    return Identity(
        name=judge.name,
        revision=revision,
        template=said(judge, "template_sha256"),
        place="" if revision else said(judge, "place"),
    )


def revision_of(parts: Sequence[Judge]) -> str:
    """Return the revision of a judge that is made of others; empty if one of them does not say its own."""
    found = [identity_of(part) for part in parts]
    return digest([x.to_json() for x in found]) if all(x.revision for x in found) else ""


def place_of(parts: Sequence[Judge]) -> str:
    """Return the place of a judge that is made of others; empty if one of them is not known at all."""
    found = [identity_of(part) for part in parts]
    if not all(x.known for x in found):
        return ""
    return f"{', '.join(x.place for x in found if x.place)}, {digest([x.to_json() for x in found])[:16]}"
