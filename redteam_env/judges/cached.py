"""A judge that looks verdicts up before it asks for them: ``cached:NAME``.

The store is one SQLite file for all judges, by default in the user's cache directory. A verdict is found
again for the same judge (name, revision and prompt, :mod:`redteam_env.judges.identity`) and the same
public dialogue, and of a judge that is told the seeds for the same seed. Several processes may use one file at once. Failures are not stored: they may pass.
"""

import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from redteam_env.border import judges
from redteam_env.border.records import verdict as checked
from redteam_env.game import Dialogue, RedteamError, Seed, Verdict
from redteam_env.game.values import Unfit
from redteam_env.judges.identity import Identity, identity_of
from redteam_env.judges.judge import check_ready
from redteam_env.judges.recorded import keys_of
from redteam_env.judges.resolve import resolve_parts
from redteam_env.judges.wrapped import WrappedJudge
from redteam_env.protocols import Judge
from redteam_env.utils import notices
from redteam_env.utils.files import make_folder
from redteam_env.utils.packages import cache_directory
from redteam_env.utils.reading import parse_json

FILE = "verdicts.sqlite"
PATIENCE_S = 60.0
"""How long one process waits for another one that writes."""
_APPLICATION = 0x52746A31  # tells our files from other SQLite files
_JUDGES = (
    "CREATE TABLE judges (id INTEGER PRIMARY KEY, name TEXT NOT NULL, revision TEXT NOT NULL, "
    "template TEXT NOT NULL, UNIQUE (name, revision, template))"
)
_VERDICTS = (
    "CREATE TABLE verdicts (judge INTEGER NOT NULL, dialogue BLOB NOT NULL, verdict TEXT NOT NULL, "
    "PRIMARY KEY (judge, dialogue)) WITHOUT ROWID"
)
_TABLES = (_JUDGES, _VERDICTS)
_AT_ONCE = 500
"""Dialogues looked up by one statement."""
_MOST_CHARACTERS = 100_000


class VerdictStore:
    """Verdicts in an SQLite file, which several processes and threads may use at once.

    Args:
        path: The file; it is made with the first verdict that is stored or looked up.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._process = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path,)

    def open(self) -> None:
        """Open the file, or make it.

        Raises:
            RedteamError: If it cannot be used, or holds something else.
        """
        with self._guarded():
            pass

    def find(self, judge: Identity, keys: Sequence[str]) -> dict[str, Verdict]:
        """Return the stored verdicts of a judge, by :func:`~redteam_env.judges.recorded.dialogue_key`.

        Raises:
            RedteamError: If the file cannot be used, or holds something else.
        """
        found: dict[str, Verdict] = {}
        wanted = list(dict.fromkeys(keys))
        with self._guarded() as connection:
            row = connection.execute(
                "SELECT id FROM judges WHERE name = ? AND revision = ? AND template = ?",
                _row(judge),
            ).fetchone()
            for start in range(0, len(wanted) if row else 0, _AT_ONCE):
                chunk = [bytes.fromhex(key) for key in wanted[start : start + _AT_ONCE]]
                places = ",".join("?" * len(chunk))
                query = (
                    "SELECT dialogue, verdict FROM verdicts WHERE judge = ? AND dialogue IN "  # noqa: S608 # nosec B608 - only question marks are put in
                    f"({places})"
                )
                for key, text in connection.execute(query, (row[0], *chunk)):
                    found[key.hex()] = self._verdict(text)
        return found

    def add(self, judge: Identity, verdicts: Mapping[str, Verdict]) -> None:
        """Store verdicts of a judge; one that is there already stays.

        Raises:
            RedteamError: If the file cannot be used, or holds something else.
        """
        rows = [(bytes.fromhex(key), _text(verdict)) for key, verdict in verdicts.items()]
        with self._guarded() as connection, _transaction(connection):
            connection.execute(
                "INSERT OR IGNORE INTO judges (name, revision, template) VALUES (?, ?, ?)",
                _row(judge),
            )
            connection.executemany(
                "INSERT OR IGNORE INTO verdicts (judge, dialogue, verdict) SELECT id, ?, ? FROM judges "
                "WHERE name = ? AND revision = ? AND template = ?",
                [(*own, *_row(judge)) for own in rows],
            )

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        with self._lock:
            if self._connection is not None and self._process == os.getpid():
                self._connection.close()
            self._connection = None

    @contextmanager
    def _guarded(self) -> Iterator[sqlite3.Connection]:
        """Hold the file's connection, and turn what SQLite refuses into one line."""
        with self._lock:
            try:
                yield self._open()
            except sqlite3.Error as error:
                raise RedteamError(
                    f"The store of verdicts {str(self.path)!r} cannot be used ({error}). {_CURE}"
                ) from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None or self._process != os.getpid():  # a fork must not share one
            make_folder(self.path.parent)
            connection = sqlite3.connect(
                self.path, timeout=PATIENCE_S, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection, self._process = connection, os.getpid()
        return self._connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA trusted_schema = OFF")
        if not _schema(connection):
            with _transaction(connection):
                if not _schema(connection):  # else another process was faster
                    for table in _TABLES:
                        connection.execute(table)
                    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        if application != _APPLICATION or _schema(connection) != set(_TABLES):
            raise RedteamError(
                f"{str(self.path)!r} is no store of verdicts of this version. {_CURE}"
            )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")

    def _verdict(self, text: object) -> Verdict:
        place = f"A verdict in {str(self.path)!r}"
        if not isinstance(text, str) or len(text) > _MOST_CHARACTERS:
            raise RedteamError(f"{place} is no text of a verdict. {_CURE}")
        fields = parse_json(text, place=place, remedy=_CURE)
        try:
            return checked(Verdict(**fields))
        except (TypeError, Unfit) as error:
            raise RedteamError(f"{place} cannot be read ({error}). {_CURE}") from error


_CURE = (
    f"Remove the file, or choose another one with cached(file=...) or REDTEAM_ENV_CACHE ({FILE})."
)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write all of it or nothing; wait for other writers before the first change."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _schema(connection: sqlite3.Connection) -> set[str]:
    with closing(connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")) as rows:
        return {sql for (sql,) in rows}


def _row(judge: Identity) -> tuple[str, str, str]:
    return judge.name, judge.revision, judge.template


def _text(verdict: Verdict) -> str:
    own = asdict(verdict)
    return json.dumps({name: own[name] for name in own if own[name] not in ("", None, {})})


@dataclass(frozen=True, slots=True)
class CachedJudge(WrappedJudge):
    """Says what another judge says, and asks it about new dialogues only.

    Attributes:
        store: Where its verdicts are kept.
        identity: Which judge it was when this one was made.
        counts: ``found`` and ``asked``: dialogues so far.
    """

    store: VerdictStore
    identity: Identity
    counts: dict[str, int] = field(default_factory=lambda: {"found": 0, "asked": 0}, compare=False)

    @property
    def revision(self) -> str:
        """That of the judge whose verdicts are kept."""
        return self.identity.revision

    @property
    def template_sha256(self) -> str:
        """That of the judge whose verdicts are kept."""
        return self.identity.template

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        """Return one verdict for each dialogue, in order; of equal ones the other judge is asked once."""
        return self._asked(dialogues, None)

    def judge_seeded(self, dialogues: Sequence[Dialogue], seeds: Sequence[Seed]) -> list[Verdict]:
        """Return the same, of a judge that may be one that is told the seeds."""
        return self._asked(dialogues, seeds)

    def _asked(self, dialogues: Sequence[Dialogue], seeds: Sequence[Seed] | None) -> list[Verdict]:
        keys = keys_of(self.inner, dialogues, seeds)
        known = self.store.find(self.identity, keys)
        new = {key: k for k, key in enumerate(keys) if key not in known}
        if new:
            places = list(new.values())
            said = judges.verdicts(
                self.inner,
                [dialogues[k] for k in places],
                seeds=None if seeds is None else [seeds[k] for k in places],
            )
            known |= dict(zip(new, said, strict=True))
            self._keep({x: known[x] for x in new if known[x].error is None})
        self.counts["asked"] += len(new)
        self.counts["found"] += len(keys) - len(new)
        return [known[key] for key in keys]

    def _keep(self, verdicts: Mapping[str, Verdict]) -> None:
        """Store verdicts; a store that takes none now costs no run the verdicts that it has."""
        try:
            self.store.add(self.identity, verdicts)
        except RedteamError as error:
            notices.warn(f"Verdicts are not stored: {error}")

    def ready(self) -> None:
        """Find out whether the store can be used and the other judge works.

        Raises:
            RedteamError: If not.
        """
        self.store.open()
        check_ready(self.inner)


def cached(
    parts: str | Judge, *, url: str | None = None, file: str | Path | None = None
) -> CachedJudge:
    """A judge that remembers what another one said, from run to run.

    Args:
        parts: The other judge.
        url: Its server, if it takes one and names none.
        file: The store; by default ``verdicts.sqlite`` in the user's cache directory.

    Returns:
        The judge; it has the other one's name.

    Raises:
        RedteamError: If the other judge cannot be made, or does not say its revision, so that its
            verdicts could not be told from those of an earlier version.
    """
    (inner,) = resolve_parts([parts], url=url)
    identity = identity_of(inner)
    if not identity.revision:
        raise RedteamError(
            f"The judge {inner.name!r} does not say its revision, so a store could not tell its verdicts "
            "from those of an earlier version, or of another server's model of that name; vouch for it by "
            f"{inner.name}?revision=TEXT (a judge of your own has an attribute revision), run the model in this "
            "process, or leave 'cached:' out."
        )
    path = cache_directory() / FILE if file is None else Path(file).expanduser()
    return CachedJudge(inner=inner, store=VerdictStore(path), identity=identity)
