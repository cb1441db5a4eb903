"""Compact games on disk: one parquet row a game, enough to judge it again and recompute every figure."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from numpy.typing import NDArray

from redteam_env.game import Episode, RedteamError, Verdict
from redteam_env.game.success import attack_success
from redteam_env.utils.files import write_aside
from redteam_env.utils.reading import read_parquet

Column = NDArray[Any]
Rows = list[dict[str, Any]]

SUITE, CROSS, RESPONSE, QUIZ = "suite", "cross", "best response", "quiz"
"""What a row is: a scripted request; a game of two arms; a game of a fresh attacker; a question of the
quiz."""

_WORD = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        ("kind", _WORD),
        ("attacker", _WORD),
        ("defender", _WORD),
        ("attacker_seed", pa.int16()),
        ("defender_seed", pa.int16()),
        ("step", pa.int32()),
        ("suite", _WORD),
        ("seed_id", _WORD),
        ("split", _WORD),
        ("harmful", pa.bool_()),
        ("prompt", _WORD),
        ("response", _WORD),
        ("score", pa.float32()),
        ("prompt_harmful", pa.bool_()),
        ("refused", pa.bool_()),
        ("told", pa.bool_()),
        ("right", pa.bool_()),
    ]
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """Whose games they are.

    Attributes:
        kind: One of the kinds above.
        attacker: The attacker's arm, or how it is scripted.
        defender: The defender's arm.
        attacker_seed: The attacker's training seed; -1 for none.
        defender_seed: The defender's.
        step: The checkpoint's training step; 0 for the base.
        suite: The suite, for scripted requests.
    """

    kind: str
    attacker: str
    defender: str
    attacker_seed: int
    defender_seed: int
    step: int
    suite: str = ""


def game_rows(
    who: Who,
    episodes: Sequence[Episode],
    scores: Sequence[float] | None = None,
    *,
    void: bool = False,
) -> Rows:
    """Return the rows of played games.

    Args:
        who: Whose they are.
        episodes: The games.
        scores: The defender's refusal score on each request, nats.
        void: Whether games may be without a verdict. The rows of void ones have no labels; nothing
            was told in those that the attacker forfeited.

    Raises:
        RedteamError: If a game has no verdict though none may be without.
    """
    rows = []
    for k, episode in enumerate(episodes):
        verdict, dialogue = episode.verdict, episode.dialogue
        if episode.uncounted:
            verdict = None
        if verdict is None and not void:
            raise RedteamError(
                f"The game {episode.path} has no verdict ({episode.uncounted or 'forfeited'}); an exact "
                "judge gives one to every game."
            )
        rows.append(
            {
                **dataclasses.asdict(who),
                "seed_id": episode.seed.id,
                "split": episode.seed.split,
                "harmful": episode.seed.harmful,
                "prompt": dialogue.prompt,
                "response": dialogue.response,
                "score": None if scores is None else scores[k],
                "prompt_harmful": None if verdict is None else verdict.prompt_harmful,
                "refused": None if verdict is None else verdict.response_refusal,
                "told": _told(episode, verdict),
                "right": None,
            }
        )
    return rows


def _told(episode: Episode, verdict: Verdict | None) -> bool | None:
    if verdict is None:
        return None if episode.uncounted else attack_success(episode, kept="nothing")
    return verdict.response_harmful


def quiz_row(who: Who, kind: str, question: str, reply: str, *, right: bool) -> dict[str, Any]:
    """Return the row of a quiz question; ``suite`` is its kind."""
    row: dict[str, Any] = dict.fromkeys(SCHEMA.names)
    row.update(dataclasses.asdict(who), suite=kind, prompt=question, response=reply, right=right)
    return row


def write_table(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as parquet: whole or not at all."""
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=SCHEMA)
    with write_aside(file) as partial:
        pq.write_table(table, partial, compression="zstd", compression_level=9)


def merge_tables(files: Sequence[Path], target: Path, *, by: Sequence[str]) -> None:
    """Put tables together as one, sorted so that it compresses well.

    Args:
        files: The tables.
        target: Where the one goes.
        by: Columns; rows that are alike in all of them stay in their order.

    Raises:
        RedteamError: If a file cannot be read or has other columns.
    """
    table = stored_table(files).unify_dictionaries().combine_chunks()
    words = [name for name in by if pa.types.is_dictionary(SCHEMA.field(name).type)]
    keys = {name: table[name].cast(pa.string()) if name in words else table[name] for name in by}
    order = pa.compute.sort_indices(pa.table(keys), sort_keys=[(x, "ascending") for x in by])
    with write_aside(target) as partial:
        pq.write_table(table.take(order), partial, compression="zstd", compression_level=19)


class Games:
    """Rows of tables as columns.

    Args:
        columns: Arrays of one length by name.
    """

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = dict(columns)

    def __len__(self) -> int:
        return len(self._columns["kind"])

    def __getitem__(self, name: str) -> Column:
        return self._columns[name]

    def where(self, **wanted: Any) -> "Games":
        """Return the rows in which each named column has the value, or one of the values, given."""
        keep = np.ones(len(self), dtype=bool)
        for name, value in wanted.items():
            many = isinstance(value, list | tuple | set | frozenset)
            keep &= np.isin(self[name], list(value)) if many else self[name] == value
        return Games({name: column[keep] for name, column in self._columns.items()})

    def take(self, rows: Column) -> "Games":
        """Return rows by their numbers, in that order; a number may come up several times."""
        return Games({name: column[rows] for name, column in self._columns.items()})

    def by(self, *names: str) -> Iterator[tuple[tuple[Any, ...], "Games"]]:
        """Yield the rows of each combination of values of the named columns, in sorted order."""
        code = np.zeros(len(self), dtype=np.int64)
        values = []
        for name in names:
            found, inverse = np.unique(self[name], return_inverse=True)
            values.append(found)
            code = code * len(found) + inverse
        order = np.argsort(code, kind="stable")
        starts = np.flatnonzero(np.diff(code[order], prepend=-1))
        for rows in np.split(order, starts[1:]) if len(order) else ():
            place = int(code[rows[0]])
            key: list[Any] = []
            for found in reversed(values):
                place, k = divmod(place, len(found))
                key.append(found[k].item() if isinstance(found[k], np.generic) else found[k])
            yield tuple(reversed(key)), self.take(rows)


def read_tables(files: Sequence[Path]) -> Games:
    """Read tables and put them together.

    Strings and truth values come as object arrays, in which ``None`` stands for what a row lacks;
    scores as float64 with NaN.

    Raises:
        RedteamError: If a file cannot be read or has other columns.
    """
    table = stored_table(files)
    return Games({name: _column(table[name]) for name in SCHEMA.names})


def stored_table(files: Sequence[Path]) -> Any:
    """Read tables and put them together, as one Arrow table of :data:`SCHEMA`.

    Raises:
        RedteamError: If a file cannot be read or has other columns.
    """
    tables = []
    for file in files:
        try:
            tables.append(read_parquet(file, remedy="It is damaged.").cast(SCHEMA))
        except (RedteamError, pa.ArrowException, ValueError) as error:
            raise RedteamError(
                f"{str(file)!r} is no table of games ({error}); remove it and run again."
            ) from error
    return pa.concat_tables(tables) if tables else SCHEMA.empty_table()


def _column(chunked: Any) -> Column:
    if pa.types.is_dictionary(chunked.type):
        chunked = chunked.cast(pa.string())
    if pa.types.is_floating(chunked.type):
        return np.asarray(chunked.to_numpy(), dtype=np.float64)
    if pa.types.is_integer(chunked.type):
        return np.asarray(chunked.to_numpy(), dtype=np.int64)
    return np.asarray(chunked.to_pylist(), dtype=object)
