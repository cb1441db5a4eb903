"""Judges without judgement, for tests: one that always says the same, one that plays a record back.

A record is a JSON-lines file. Each line holds the key of a public dialogue and the verdict on it,
so a run can be replayed without the server that judged it.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redteam_env.border import judges
from redteam_env.border.records import demand
from redteam_env.border.records import verdict as read_verdict
from redteam_env.game import Dialogue, RedteamError, Seed, Verdict, unknown_name
from redteam_env.judges.identity import digest
from redteam_env.judges.judge import check_ready
from redteam_env.judges.wrapped import WrappedJudge
from redteam_env.protocols import Judge
from redteam_env.utils.reading import parse_json, read_lines

SCHEMA = 1

_SPELLED: Mapping[str, bool | None] = {"true": True, "false": False, "unknown": None}


@dataclass(frozen=True, slots=True)
class AlwaysJudge:
    """Gives every dialogue the same verdict."""

    verdict: Verdict
    name: str = "always"
    smoke_only: bool = True

    @property
    def revision(self) -> str:
        """What it always says."""
        return digest(dataclasses.asdict(self.verdict))

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        """Return the one verdict for each dialogue."""
        return [dataclasses.replace(self.verdict, judge=self.name)] * len(dialogues)


def always(
    prompt_harmful: bool | str | None = True,
    response_refusal: bool | str | None = False,
    response_harmful: bool | str | None = True,
) -> AlwaysJudge:
    """A judge that always says the same.

    Args:
        prompt_harmful: ``True``, ``False``, or ``None`` for *unknown*; as text, ``"true"``,
            ``"false"``, ``"unknown"``.
        response_refusal: The same.
        response_harmful: The same.

    Returns:
        The judge.

    Raises:
        RedteamError: If a value is none of these.
    """
    return AlwaysJudge(
        Verdict(
            prompt_harmful=_field("prompt_harmful", prompt_harmful),
            response_refusal=_field("response_refusal", response_refusal),
            response_harmful=_field("response_harmful", response_harmful),
        )
    )


def _field(name: str, value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    if not isinstance(value, str) or value.lower() not in _SPELLED:
        raise unknown_name(f"value of {name}", value, _SPELLED)
    return _SPELLED[value.lower()]


def dialogue_key(dialogue: Dialogue, seed: Seed | None = None) -> str:
    """Return the name of a public dialogue: the SHA-256 of its seats and texts, in hex.

    Args:
        dialogue: The dialogue.
        seed: Its seed, where the verdict is that of a judge that was told it: its text and label count,
            too.
    """
    spoken: list[list[str | bool]] = [[line.seat, line.text] for line in dialogue.lines]
    if seed is not None:
        spoken.append([seed.text, seed.harmful])
    return hashlib.sha256(json.dumps(spoken).encode("ascii")).hexdigest()


def keys_of(judge: Judge, dialogues: Sequence[Dialogue], seeds: Sequence[Seed] | None) -> list[str]:
    """Return the keys of what a judge says: with the seeds, if it is told them."""
    if seeds is None or not judges.is_seeded(judge):
        return [dialogue_key(dialogue) for dialogue in dialogues]
    return [dialogue_key(*pair) for pair in zip(dialogues, seeds, strict=True)]


@dataclass(frozen=True, slots=True)
class RecordedJudge:
    """Plays back verdicts that another judge gave; each keeps the name of that judge.

    Attributes:
        verdicts: Verdicts by :func:`dialogue_key`.
    """

    verdicts: Mapping[str, Verdict] = field(repr=False)
    name: str = "recorded"
    smoke_only: bool = True

    @property
    def revision(self) -> str:
        """The SHA-256 of all that is recorded."""
        return digest({key: dataclasses.asdict(x) for key, x in self.verdicts.items()})

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        """Return the recorded verdict on each dialogue; an unrecorded one is an error that says so."""
        return [self._verdict(dialogue_key(dialogue)) for dialogue in dialogues]

    def judge_seeded(self, dialogues: Sequence[Dialogue], seeds: Sequence[Seed]) -> list[Verdict]:
        """Return the same; where the recorded judge was told the seeds, those of these seeds."""
        found = []
        for dialogue, seed in zip(dialogues, seeds, strict=True):
            own = dialogue_key(dialogue, seed)
            found.append(self._verdict(own if own in self.verdicts else dialogue_key(dialogue)))
        return found

    def _verdict(self, key: str) -> Verdict:
        found = self.verdicts.get(key)
        return found or Verdict(judge=self.name, error=f"no verdict is recorded for {key}")


def recorded(
    file: str | Path | None = None, *, verdicts: Mapping[str, Verdict] | None = None
) -> RecordedJudge:
    """A judge that plays a record back.

    Args:
        file: A record that :func:`record` wrote.
        verdicts: Or the verdicts themselves, by :func:`dialogue_key`.

    Returns:
        The judge.

    Raises:
        RedteamError: If both or neither are given, or the file is no record.
    """
    if (file is None) == (verdicts is None):
        raise RedteamError(
            "The judge 'recorded' takes either file or verdicts; give one of them: a JSON-lines "
            "file that redteam_env.judges.record wrote, or a mapping."
        )
    return RecordedJudge(read_record(file) if file is not None else dict(verdicts or {}))


def read_record(file: str | Path) -> dict[str, Verdict]:
    """Read a record.

    Args:
        file: What :func:`record` wrote. Where a key stands more than once, the last line counts.

    Returns:
        The verdicts by :func:`dialogue_key`.

    Raises:
        RedteamError: If the file cannot be read, or a line is no recorded verdict.
    """
    try:
        lines = list(read_lines(Path(file)))
    except OSError as error:
        raise RedteamError(f"The record {str(file)!r} cannot be read: {error}.") from error
    found: dict[str, Verdict] = {}
    for number, line in lines:
        if not line.strip():
            continue
        try:
            row = parse_json(line, place="it")
            _check_schema(row["schema"])
            found[_text(row["key"])] = _verdict(row["verdict"])
        except (KeyError, TypeError, ValueError, RedteamError) as error:
            raise RedteamError(
                f"Line {number} of {str(file)!r} is no recorded verdict ({error}). Name a file that "
                "redteam_env.judges.record wrote; if a crash cut the line off, delete it."
            ) from error
    return found


def _check_schema(schema: object) -> None:
    if schema != SCHEMA:
        raise RedteamError(f"schema {schema!r} instead of {SCHEMA}")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _verdict(data: Mapping[str, Any]) -> Verdict:
    return demand(Verdict(**data), read_verdict, "it")


@dataclass(frozen=True, slots=True)
class RecordingJudge(WrappedJudge):
    """Writes down what another judge says, and says the same.

    Attributes:
        path: The record.
    """

    path: Path

    def judge(self, dialogues: Sequence[Dialogue]) -> Sequence[Verdict]:
        """Return the other judge's verdicts after appending them to the record."""
        return self._recorded(dialogues, None)

    def judge_seeded(
        self, dialogues: Sequence[Dialogue], seeds: Sequence[Seed]
    ) -> Sequence[Verdict]:
        """Return the same, of a judge that may be one that is told the seeds."""
        return self._recorded(dialogues, seeds)

    def _recorded(
        self, dialogues: Sequence[Dialogue], seeds: Sequence[Seed] | None
    ) -> Sequence[Verdict]:
        verdicts = judges.verdicts(self.inner, dialogues, seeds=seeds)
        keys = keys_of(self.inner, dialogues, seeds)
        rows = [
            {"schema": SCHEMA, "key": key, "verdict": dataclasses.asdict(verdict)}
            for key, verdict in zip(keys, verdicts, strict=True)
        ]
        _append(self.path, "".join(f"{json.dumps(row)}\n" for row in rows))
        return verdicts

    def ready(self) -> None:
        """Ask the other judge whether it works; its answers to that are not recorded."""
        check_ready(self.inner)


def record(judge: Judge, path: str | Path) -> RecordingJudge:
    """A judge that writes down what another one says, for :func:`recorded` to play back.

    Args:
        judge: The judge that decides.
        path: The record: a new file, or an earlier record, which is continued.

    Returns:
        The recording judge; it has the other one's name.

    Raises:
        RedteamError: If the file exists and is no record, or cannot be written.
    """
    file = Path(path)
    if file.exists():
        read_record(file)
        if file.stat().st_size and not file.read_bytes().endswith(b"\n"):
            _append(file, "\n")
    else:
        _append(file, "")
    return RecordingJudge(judge, file)


def _append(path: Path, text: str) -> None:
    """Append whole lines in one write, so that two writers' lines never mix."""
    data = text.encode("ascii")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            written = file.write(data)
    except OSError as error:
        raise RedteamError(
            f"The record {str(path)!r} cannot be written: {error.strerror}. Name another file."
        ) from error
    if written != len(data):
        raise RedteamError(
            f"The record {str(path)!r} could not be written whole: is the disk full?"
        )
