"""How far a judge agrees with people, measured once and kept.

A calibration belongs to a judge of one name, revision and prompt (:mod:`redteam_env.judges.identity`). It is
kept in the user's data directory, and from then on stands beside every rate of that judge. A judge that does not
say its revision is known by where it is asked, which then stands beside the rates, too; of one that is not
known at all nothing is kept.
"""

import json
import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from redteam_env.border import judges
from redteam_env.evaluation.detection import roc
from redteam_env.evaluation.reliability import (
    Scores,
    Truths,
    calibration_error,
    calibration_error_interval,
)
from redteam_env.evaluation.statistics import Interval, Share, bootstrap_of, share_of, wilson
from redteam_env.game import RedteamError, Verdict
from redteam_env.game.values import Unfit
from redteam_env.judges.identity import Identity, digest, identity_of
from redteam_env.protocols import DataCard, Judge, Progress
from redteam_env.randomness import generator
from redteam_env.seeds.labelled import Labelled, LabelledSet
from redteam_env.utils.files import read_record, write_text

FIELDS = ("prompt_harmful", "response_refusal", "response_harmful")
DATA_VARIABLE = "REDTEAM_ENV_DATA"
SCHEMA = 1
_BATCH = 256
"""Dialogues that a judge is asked about at once."""
_AGAIN = "Measure the judge again with redteam-env judge calibrate, or remove the file."


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A figure of scores, with its interval."""

    value: float
    interval: Interval

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {"value": self.value, "interval": self.interval.to_json()}


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldCalibration:
    """How far a judge agrees with people on one question.

    Attributes:
        field: The field of the verdict.
        labels: The labelled set.
        sha256: Of the set's files.
        dialogues: Labelled dialogues.
        prompts: Distinct prompts among them; each is a cluster.
        unknown: Dialogues that the judge gave no answer to, which are in no figure.
        accuracy: Share of answers that are right.
        sensitivity: Of what people found true, the share that the judge does (recall).
        specificity: Of what they found false, the share that it does.
        precision: Of what it found true, the share that people do.
        overlap: True positives among all that either found true; F1 follows from it.
        auc: Area under the ROC curve of its scores, where it gives any.
        ece: Expected calibration error of its scores (:mod:`redteam_env.evaluation.reliability`).
    """

    field: str
    labels: str
    sha256: str
    dialogues: int
    prompts: int
    unknown: int
    accuracy: Share
    sensitivity: Share
    specificity: Share
    precision: Share
    overlap: Share
    auc: Score | None = None
    ece: Score | None = None

    @property
    def f1(self) -> Score | None:
        """The harmonic mean of precision and sensitivity, ``2 x / (1 + x)`` of the overlap x."""
        if self.overlap.value is None:
            return None
        inner = self.overlap.interval
        ends = Interval(_f1(inner.low), _f1(inner.high))
        return Score(value=_f1(self.overlap.value), interval=ends)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        shares = ("accuracy", "sensitivity", "specificity", "precision", "overlap")
        scores = ("f1", "auc", "ece")
        plain = ("field", "labels", "sha256", "dialogues", "prompts", "unknown")
        return {
            **{name: getattr(self, name) for name in plain},
            **{name: getattr(self, name).to_json() for name in shares},
            **{name: x and x.to_json() for name in scores for x in (getattr(self, name),)},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What is known of a judge.

    Attributes:
        judge: Which judge.
        fields: For each question that it was measured on, the last measurement.
    """

    judge: Identity
    fields: Mapping[str, FieldCalibration]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {
            "schema": SCHEMA,
            "judge": self.judge.to_json(),
            "fields": {name: x.to_json() for name, x in self.fields.items()},
        }


def ask(judge: Judge, labelled: LabelledSet, progress: Progress | None = None) -> list[Verdict]:
    """Return a judge's verdicts on labelled dialogues.

    Args:
        judge: The judge.
        labelled: The dialogues.
        progress: Called as ``progress(phase, done, total)``.

    Raises:
        RedteamError: If the judge breaks its protocol.
    """
    dialogues = [row.dialogue for row in labelled.rows]
    found: list[Verdict] = []
    for start in range(0, len(dialogues), _BATCH):
        found += judges.verdicts(judge, dialogues[start : start + _BATCH])
        if progress is not None:
            progress("judging", len(found), len(dialogues))
    return found


def calibrate(
    judge: Judge, labelled: LabelledSet, verdicts: Sequence[Verdict], *, seed: int = 0
) -> Calibration:
    """Compare a judge's verdicts with what people said.

    Args:
        judge: The judge.
        labelled: What people said; answers to the same prompt are not independent.
        verdicts: The judge's, one for each of its rows.
        seed: Sets the bootstrap's random draws.

    Returns:
        What was found, without the questions that the judge never answered.

    Raises:
        RedteamError: If the lengths differ.
    """
    if len(labelled.rows) != len(verdicts):
        raise RedteamError(
            f"{len(labelled.rows)} labelled dialogues have {len(verdicts)} verdicts; give one each."
        )
    pairs = list(zip(labelled.rows, verdicts, strict=True))
    found = {}
    for field in FIELDS:
        own = [(row, verdict) for row, verdict in pairs if field in row.labels]
        if any(x.error is None and getattr(x, field) is not None for _, x in own):
            sets = {row.source for row, _ in own}
            cards = [card for card in labelled.cards if card.name in sets]
            found[field] = _field(field, own, cards, generator((seed, "calibration", field)))
    return Calibration(judge=identity_of(judge), fields=found)


def _field(
    field: str,
    pairs: Sequence[tuple[Labelled, Verdict]],
    cards: Sequence[DataCard],
    rng: np.random.Generator,
) -> FieldCalibration:
    told = [
        (row.labels[field], verdict, row.cluster) for row, verdict in pairs if verdict.error is None
    ]
    rows = [
        (truth, said, cluster)
        for truth, verdict, cluster in told
        if (said := getattr(verdict, field)) is not None
    ]

    def share(asked: Callable[[bool, bool], bool], right: Callable[[bool, bool], bool]) -> Share:
        own = [(right(truth, said), cluster) for truth, said, cluster in rows if asked(truth, said)]
        return share_of([x for x, _ in own], [cluster for _, cluster in own])

    def agree(truth: bool, said: bool) -> bool:
        return truth is said

    scored = [
        (truth, verdict.probabilities[field], cluster)
        for truth, verdict, cluster in told
        if field in verdict.probabilities
    ]
    auc, ece = _scores(scored, rng) if scored else (None, None)
    return FieldCalibration(
        field=field,
        labels=", ".join(card.name for card in cards),
        sha256=digest([card.sha256 for card in cards]),
        dialogues=len(pairs),
        prompts=len({row.cluster for row, _ in pairs}),
        unknown=len(pairs) - len(rows),
        accuracy=share(lambda _, __: True, agree),
        sensitivity=share(lambda truth, _: truth, agree),
        specificity=share(lambda truth, _: not truth, agree),
        precision=share(lambda _, said: said, agree),
        overlap=share(lambda truth, said: truth or said, agree),
        auc=auc,
        ece=ece,
    )


def _scores(
    rows: Sequence[tuple[bool, float, Hashable]], rng: np.random.Generator
) -> tuple[Score | None, Score]:
    truths = np.array([truth for truth, _, _ in rows])
    scores = np.array([score for _, score, _ in rows], dtype=float)
    clusters = [cluster for _, _, cluster in rows]
    ece = Score(
        value=calibration_error(scores, truths),
        interval=calibration_error_interval(scores, truths, clusters, rng),
    )
    if truths.all() or not truths.any():
        return None, ece
    value = roc(scores, truths).auc
    interval = bootstrap_of(_auc, scores, truths, clusters, rng)
    if interval.low == interval.high:  # all draws are alike: as many trials as the rarer label has
        few = int(min(truths.sum(), (~truths).sum()))
        limits = wilson(round(value * few), few)
        interval = Interval(min(limits.low, value), max(limits.high, value))
    return Score(value=value, interval=interval), ece


def _auc(scores: Scores, truths: Truths) -> float:
    if truths.all() or not truths.any():
        return float("nan")
    return roc(scores, truths).auc


def calibrations_folder() -> Path:
    """Return where calibrations are kept.

    The environment variable ``REDTEAM_ENV_DATA`` names the directory above; by default it is the user's
    data directory. It is not created here.
    """
    named = os.environ.get(DATA_VARIABLE)
    return Path(named or platformdirs.user_data_dir("redteam_env")) / "calibrations"


def check_known(judge: Judge) -> None:
    """Refuse a judge of which nothing can be kept, before it is measured.

    Raises:
        RedteamError: If it tells neither its revision nor where it is asked.
    """
    if not identity_of(judge).known:
        raise RedteamError(
            f"The judge {judge.name!r} does not say its revision, so tables of another version would be "
            "corrected by the errors of this one; give it an attribute revision (a text that changes whenever "
            "its verdicts may)."
        )


def store(calibration: Calibration) -> Path:
    """Keep a calibration; fields that it does not measure stay as they were.

    Returns:
        The file.

    Raises:
        RedteamError: If an earlier calibration of the judge is damaged.
        OSError: If it cannot be written.
    """
    earlier = _read(calibration.judge)
    fields = {**(earlier.fields if earlier else {}), **calibration.fields}
    file = _file(calibration.judge)
    whole = Calibration(judge=calibration.judge, fields=fields)
    write_text(file, json.dumps(whole.to_json(), indent=1, allow_nan=False) + "\n")
    return file


def calibration_of(judge: Judge) -> Calibration | None:
    """Return what is known of a judge; ``None`` if it was never calibrated as it is now.

    Raises:
        RedteamError: If its file is damaged.
    """
    identity = identity_of(judge)
    return _read(identity) if identity.known else None


def _file(judge: Identity) -> Path:
    return calibrations_folder() / f"{judge.key}.json"


def _read(judge: Identity) -> Calibration | None:
    file = _file(judge)
    if not file.is_file():
        return None
    record = read_record(file, remedy=_AGAIN, schema=SCHEMA, needed=["judge", "fields"])
    try:
        fields = {name: _read_field(name, own) for name, own in record["fields"].items()}
    except (KeyError, TypeError, ValueError, AttributeError, Unfit, RedteamError) as error:
        raise RedteamError(f"{str(file)!r} is no calibration ({error}). {_AGAIN}") from error
    if record["judge"] != judge.to_json() or not set(fields) <= set(FIELDS):
        raise RedteamError(f"{str(file)!r} is no calibration of the judge {judge.name!r}. {_AGAIN}")
    return Calibration(judge=judge, fields=fields)


def _read_field(name: str, own: Mapping[str, Any]) -> FieldCalibration:
    shares = ("accuracy", "sensitivity", "specificity", "precision", "overlap")
    return FieldCalibration(
        field=name,
        labels=str(own["labels"]),
        sha256=str(own["sha256"]),
        dialogues=int(own["dialogues"]),
        prompts=int(own["prompts"]),
        unknown=int(own["unknown"]),
        auc=_read_score(own["auc"]),
        ece=_read_score(own["ece"]),
        **{
            x: Share(int(own[x]["k"]), int(own[x]["n"]), float(own[x]["effective"])) for x in shares
        },
    )


def _read_score(own: Any) -> Score | None:
    if own is None:
        return None
    low, high = map(float, own["interval"])
    return Score(value=float(own["value"]), interval=Interval(low, high))


def _f1(overlap: float) -> float:
    return 2 * overlap / (1 + overlap)
