"""What an evaluation took in all calls that played its games: usage, an attack's queries, judges that were compared."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from redteam_env.cli.options import Table, judge_record
from redteam_env.evaluation.stored import SCHEMA
from redteam_env.game import RedteamError
from redteam_env.game.values import Unfit, number, optional, whole
from redteam_env.protocols import Queries, Usage
from redteam_env.utils.files import read_record, write_text
from redteam_env.utils.notices import warn

SPENT = "spent.json"
"""The file, beside the games that are kept, of what they took."""
_USAGE, _QUERIES, _APART = "usage", "attack_queries", "disagreement"
_ASKED, _ATTACKED = ("agent", "role"), ("agent",)
"""What names a row."""
_REMEDY = "Remove it, and what is told of usage is that of the calls from then on."

Amounts = TypeVar("Amounts", Usage, Queries)
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Spent:
    """What agents and the judge took, in this call and in those before.

    It is written before each part of the games is: a process that is killed in between has counted a part that is
    played again.

    Attributes:
        table: What is played with.
        folder: Where it is kept; ``None`` if it is not.
        before: What earlier calls took, as :meth:`to_json` told then.
    """

    table: Table
    folder: Path | None = None
    before: Mapping[str, Any] = field(default_factory=dict)

    def usage(self) -> list[dict[str, Any]]:
        """Return what agents behind an API took, as :meth:`redteam_env.evaluation.AgentPool.usage` does."""
        return _summed(Usage, _ASKED, self.before.get(_USAGE, ()), self.table.pool.usage())

    def queries(self) -> list[dict[str, Any]]:
        """Return what standing attacks cost, as :meth:`redteam_env.evaluation.AgentPool.queries` does."""
        now = self.table.pool.queries()
        return _summed(Queries, _ATTACKED, self.before.get(_QUERIES, ()), now)

    def judge(self) -> dict[str, Any]:
        """Return what a report says of the judge."""
        record = judge_record(self.table.judge)
        if _APART in record:
            record[_APART] = _counted(self.before.get(_APART, {}), record[_APART])
        return record

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        apart = self.judge().get(_APART, {})
        return {_USAGE: self.usage(), _QUERIES: self.queries(), _APART: apart}

    def write(self) -> None:
        """Write it into its folder.

        Raises:
            OSError: If it cannot be written.
        """
        if self.folder is not None:
            text = json.dumps({"schema": SCHEMA, **self.to_json()}, indent=2, allow_nan=False)
            write_text(self.folder / SPENT, f"{text}\n")


def spent_in(folder: Path, table: Table, *, begun: bool) -> Spent:
    """Return what was spent, with what a folder tells of earlier calls.

    Args:
        folder: Where it is kept.
        table: What is played with.
        begun: Whether games of earlier calls are kept.

    Raises:
        RedteamError: If the file is damaged.
    """
    if not begun:
        return Spent(table, folder)
    file = folder / SPENT
    if not file.is_file():
        warn(f"There is no {str(file)!r}, so what is told of usage is that of this call.")
        return Spent(table, folder)
    record = read_record(file, remedy=_REMEDY, schema=SCHEMA, needed=(_USAGE, _QUERIES, _APART))
    try:
        before = {
            _USAGE: _summed(Usage, _ASKED, record[_USAGE]),
            _QUERIES: _summed(Queries, _ATTACKED, record[_QUERIES]),
            _APART: _counted({}, record[_APART]),
        }
    except (AttributeError, KeyError, TypeError, Unfit) as error:
        raise RedteamError(f"{str(file)!r} tells no usage ({error!r}). {_REMEDY}") from error
    return Spent(table, folder, before)


def _summed(kind: type[Amounts], names: Sequence[str], *sums: Rows) -> list[dict[str, Any]]:
    """Return rows with the sums of those that have the same names."""
    found: dict[tuple[str, ...], Amounts] = {}
    for row in (row for rows in sums for row in rows):
        key = tuple(str(row[name]) for name in names)
        told: dict[str, Any] = {x: optional(number)(y) for x, y in row.items() if x not in names}
        own = kind(**told)
        found[key] = found[key].plus(own) if key in found else own
    return [{**dict(zip(names, key, strict=True)), **x.to_json()} for key, x in found.items()]


def _counted(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return how often two judges differed, before and now together."""
    return {
        name: counts
        if isinstance(counts, str)
        else {x: whole(n) + whole(before.get(name, {}).get(x, 0)) for x, n in counts.items()}
        for name, counts in now.items()
    }
