"""Where seeds come from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from redteam_env.game import Seed


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCard:
    """Where a seed source's data come from.

    Attributes:
        name: Name of the data set.
        licence: SPDX identifier or a short description.
        revision: Version, commit or date.
        sha256: Of the file that was read; empty for data that a library streams.
        origin: Where it was fetched from, in words or as an address.
        citation: Paper or repository to cite.
    """

    name: str
    licence: str
    revision: str
    sha256: str
    origin: str
    citation: str = ""


@runtime_checkable
class SeedSource(Protocol):
    """A supply of labelled seeds."""

    @property
    def card(self) -> DataCard:
        """Where the seeds come from."""
        ...

    def draw(
        self, n: int, rng: np.random.Generator, *, harmful: bool, split: str = "train"
    ) -> list[Seed]:
        """Return ``n`` seeds of one label and split, repeating only once all were drawn.

        Raises:
            RedteamError: If the source has no such seed.
        """
        ...

    def seeds(self, split: str) -> Sequence[Seed]:
        """Return all seeds of a split in a fixed order."""
        ...
