"""The settings of an export; reading them imports no torch."""

from dataclasses import dataclass
from typing import Annotated

import tyro


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """What of a run is exported, and how.

    Attributes:
        role: The role whose weights are exported; by default all that were trained.
        merge: Fold adapters into their base, and write whole models.
        base: What others call the base of adapters: a hub id, or copy for a copy of it in the export; by
            default the hub id that the run was trained on, and a copy of models that come with this library.
        license: The licence of the export, as the hub names it, such as apache-2.0; by default the base's
            where it is known here, else other.
        results: What evaluate or crossplay wrote with --out: goes into the card's tables and the data set.
        texts: Put what players wrote into the data set, too, which may be harmful.
    """

    role: str | None = None
    merge: bool = False
    base: str | None = None
    license: str | None = None
    results: Annotated[
        tuple[str, ...],
        tyro.conf.arg(
            metavar="DIR ...",
            help_behavior_hint="(default: the games of the last steps of training)",
        ),
    ] = ()
    texts: bool = False
