"""What a run's agents and judge behind an API took: step by step, and in the session."""

from collections.abc import Mapping
from functools import reduce
from typing import Any

from algorithms.core.ranks import current
from algorithms.training.metrics import Row
from redteam_env.protocols import Usage


class Meters:
    """Reads the ``usage`` of whoever has one; in a run of several processes, that of all together.

    Args:
        asked: For each role and for ``judge``, what reports call it, and the agent or judge.
    """

    def __init__(self, asked: Mapping[str, tuple[str, Any]]) -> None:
        self._asked = dict(asked)
        self._before = self._read()

    def row(self) -> Row:
        """Return what was taken since the last call, as ``usage/ROLE/requests`` and so on."""
        before, self._before = self._before, self._read()
        row: Row = {}
        for role, usage in self._before.items():
            for name, value in usage.to_json().items():
                if value is not None:
                    row[f"usage/{role}/{name}"] = value - getattr(before[role], name)
        return row

    def session(self) -> list[dict[str, Any]]:
        """Return what was taken in all, as :meth:`redteam_env.evaluation.AgentPool.usage` does."""
        return [
            {"agent": self._asked[role][0], "role": role, **usage.to_json()}
            for role, usage in self._read().items()
        ]

    def _read(self) -> dict[str, Usage]:
        own = {role: getattr(thing, "usage", None) for role, (_, thing) in self._asked.items()}
        parts = current().gather(
            {role: usage.to_json() for role, usage in own.items() if isinstance(usage, Usage)}
        )
        return {
            role: reduce(Usage.plus, [Usage(**part[role]) for part in parts]) for role in parts[0]
        }
