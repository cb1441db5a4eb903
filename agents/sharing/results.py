"""Stored games as a data set and as tables, without players' texts unless these are asked for."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redteam_env.evaluation.rates import OUTCOMES, measure
from redteam_env.evaluation.stored import Stored, games_of_run, stored_games
from redteam_env.game import Episode, RedteamError, role_of
from redteam_env.report import rate_cell
from redteam_env.report.tables import TITLES
from redteam_env.runs import Run
from redteam_env.utils.redaction import redacted
from redteam_env.utils.text import escape_controls

FOLDER = "results"
LAST = 5
"""Steps of training whose games stand for a run without an evaluation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Games that an export tells of.

    Attributes:
        tables: What was played, each with its games.
        trained: Whether these are games of training, because no evaluation was named.
        fault: Why games of training that are there are not told of; for the exporting user, as it names
            places on the machine.
    """

    tables: tuple[tuple[str, Stored], ...]
    trained: bool
    fault: str | None = None

    @classmethod
    def read(cls, run: Path, places: Sequence[str]) -> "Results":
        """Return the games of evaluations, or those of a run's last steps if none are named.

        Args:
            run: The run directory.
            places: What ``evaluate`` or ``crossplay`` wrote with ``--out``.

        Raises:
            RedteamError: If one holds no games, or a file is damaged.
        """
        if places:
            found = [(Path(x).name, own) for x in places for own in stored_games(Path(x))]
            return cls(tables=tuple(found), trained=False)
        try:
            own = games_of_run(Run(run), last=LAST)
        except RedteamError as error:  # the weights are whole
            return cls(tables=(), trained=True, fault=str(error))
        if own is None or not own.episodes:  # they may have been removed
            return cls(tables=(), trained=True)
        return cls(tables=(("training", own),), trained=True)

    @property
    def cut(self) -> int:
        """How many half-written games are left out."""
        return sum(len(stored.left_out) for _, stored in self.tables)

    def write(self, out: Path, *, texts: bool) -> None:
        """Write a row a game, as JSON lines and, where pyarrow is installed, as parquet.

        Args:
            out: A folder that is there.
            texts: Whether with what players wrote.
        """
        rows = list(self._rows(texts=texts))
        if not rows:
            return
        lines = "".join(f"{json.dumps(row)}\n" for row in rows)
        (out / "games.jsonl").write_text(lines, encoding="ascii")
        try:
            import pyarrow as pa  # noqa: PLC0415 - it comes with an extra
            import pyarrow.parquet as pq  # noqa: PLC0415
        except ModuleNotFoundError:
            return
        pq.write_table(pa.Table.from_pylist(rows), out / "games.parquet")

    def _rows(self, *, texts: bool) -> Iterator[dict[str, Any]]:
        for name, stored in self.tables:
            seats = {
                role: label(x)
                for role, x in zip(("attacker", "defender"), stored.seats, strict=True)
            }
            for number, episode in enumerate(stored.episodes):
                yield {"result": name, "game": number, **seats, **_row(episode, texts=texts)}

    def markdown(self) -> str:
        """Return a table of rates for each set of games."""
        parts = []
        for name, stored in self.tables:
            rates = measure(stored.episodes)
            attacker, defender = map(label, stored.seats)
            lines = [
                (
                    f"**{cell(name)}**: {cell(attacker)} against {cell(defender)}, {rates.games} games, "
                    f"{rates.void} of them void"
                ),
                "",
                "| rate | share [95 % interval] | games |",
                "|---|---|---|",
            ]
            for outcome in OUTCOMES:
                rate = getattr(rates, outcome)
                if rate.n:
                    shown = f"{rate_cell(rate).plain} | {rate.k}/{rate.n}"
                    lines.append(f"| {TITLES[outcome]} | {shown} |")
            parts.append("\n".join(lines))
        return "\n\n".join(parts)


def _row(episode: Episode, *, texts: bool) -> dict[str, Any]:
    verdict = episode.verdict
    judged = ("prompt_harmful", "response_refusal", "response_harmful")
    return {
        "seed": escape_controls(episode.seed.id),
        "category": escape_controls(episode.seed.category),
        "harmful": episode.seed.harmful,
        "rewritten": episode.rewritten,
        **{name: getattr(verdict, name, None) for name in judged},
        "forfeit": episode.forfeit,
        "void": None if episode.void is None else "void",
        **{f"{role_of(seat)}_reward": float(x) for seat, x in sorted(episode.rewards.items())},
        "dialogue": [
            {"role": role_of(line.seat), "text": line.text if texts else redacted(line.text)}
            for line in episode.dialogue.lines
        ],
    }


def label(name: str) -> str:
    """Return what an agent is called where it is not known by a place on this machine."""
    if name.startswith(("/", "~", ".")) or "\\" in name or Path(name).is_dir():
        return Path(name.replace("\\", "/")).name or "agent"
    return name


def cell(text: str) -> str:
    """Return a text from outside as plain words of a Markdown page or table."""
    plain = " ".join(escape_controls(str(text)).split())
    for mark in "\\`*_[]<>|#!$":
        plain = plain.replace(mark, f"\\{mark}" if mark not in "<>" else f"&#{ord(mark)};")
    return plain
