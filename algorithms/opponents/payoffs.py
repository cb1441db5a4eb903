"""The pay-off matrix of a league: what each frozen attacker and defender earn against each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from algorithms.opponents.matching import SIDES
from redteam_env.equilibria.solve import Table
from redteam_env.game import RedteamError
from redteam_env.protocols import Result


@dataclass(slots=True, kw_only=True)
class PayoffTable:
    """Mean pay-offs of frozen versions, attackers by defenders; plain JSON on disk.

    Attributes:
        attackers: Names of the rows.
        defenders: Names of the columns.
        payoffs: For each role its mean pay-offs, a list for each row.
    """

    attackers: list[str] = field(default_factory=list)
    defenders: list[str] = field(default_factory=list)
    payoffs: dict[str, list[list[float]]] = field(
        default_factory=lambda: {role: [] for role in SIDES}
    )

    def table(self, role: str) -> Table:
        """Return a role's pay-offs, shaped (attackers, defenders)."""
        shape = (len(self.attackers), len(self.defenders))
        return np.asarray(self.payoffs[role], dtype=np.float64).reshape(shape)

    def missing(self, attacker: str, defender: str) -> list[tuple[str, str]]:
        """Return the pairs to be played before a row and a column can be added.

        Args:
            attacker: The new row, or one that is there.
            defender: The new column, or one that is there.
        """
        rows = [] if attacker in self.attackers else [attacker]
        columns = [] if defender in self.defenders else [defender]
        return [(a, d) for a in rows for d in (*self.defenders, *columns)] + [
            (a, d) for a in self.attackers for d in columns
        ]

    def grow(
        self, attacker: str, defender: str, found: Mapping[tuple[str, str], Mapping[str, float]]
    ) -> None:
        """Add a row and a column.

        Args:
            attacker: The new row; one that is there is not added again.
            defender: The new column; the same.
            found: Mean pay-off of each role in each pair of :meth:`missing`.
        """
        if defender not in self.defenders:
            for k, row in enumerate(self.attackers):
                for role in SIDES:
                    self.payoffs[role][k].append(found[row, defender][role])
            self.defenders.append(defender)
        if attacker not in self.attackers:
            for role in SIDES:
                self.payoffs[role].append([found[attacker, d][role] for d in self.defenders])
            self.attackers.append(attacker)

    def remove(self, role: str, place: int) -> str:
        """Remove a row (of the attackers) or a column (of the defenders); return its name."""
        rows = role == SIDES[0]
        for table in self.payoffs.values():
            if rows:
                del table[place]
            else:
                for row in table:
                    del row[place]
        return (self.attackers if rows else self.defenders).pop(place)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {
            "attackers": list(self.attackers),
            "defenders": list(self.defenders),
            "payoffs": {role: [list(row) for row in x] for role, x in self.payoffs.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "PayoffTable":
        """Read a table back.

        Raises:
            RedteamError: If it has another shape than its names say.
        """
        found = cls(
            attackers=list(data["attackers"]),
            defenders=list(data["defenders"]),
            payoffs={role: [list(row) for row in data["payoffs"][role]] for role in SIDES},
        )
        for role, rows in found.payoffs.items():
            if [len(row) for row in rows] != [len(found.defenders)] * len(found.attackers):
                raise RedteamError(
                    f"The pay-off matrix of the {role} does not have {len(found.attackers)} rows of "
                    f"{len(found.defenders)}; it was altered. Resume from another checkpoint."
                )
        return found


def mean_payoffs(results: Sequence[Result], pair: tuple[str, str]) -> dict[str, float]:
    """Return each role's mean pay-off.

    Args:
        results: Games of one pair.
        pair: Its names, for the error.

    Raises:
        RedteamError: If there is no game that counts.
    """
    if not results:
        raise RedteamError(
            f"All games of {pair[0]!r} against {pair[1]!r} are void, so their pay-off is unknown; look "
            "at the judge."
        )
    return {role: float(np.mean([x.payoffs[role] for x in results])) for role in SIDES}
