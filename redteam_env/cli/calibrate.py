"""``redteam-env judge calibrate``: how far a judge agrees with people, measured and kept."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import tyro
from rich.text import Text

from redteam_env.cli.options import shown_as
from redteam_env.cli.results import judging
from redteam_env.evaluation.calibration import (
    Calibration,
    FieldCalibration,
    ask,
    calibrate,
    check_known,
    store,
)
from redteam_env.evaluation.correction import rogan_gladen
from redteam_env.evaluation.statistics import Interval, Share
from redteam_env.game import RedteamError, Seed
from redteam_env.judges.judge import check_ready
from redteam_env.judges.resolve import resolve_judge
from redteam_env.protocols import Judge
from redteam_env.report import CORRECTED, judge_line, place_lines
from redteam_env.seeds.labelled import LabelledSet, resolve_labels
from redteam_env.utils.console import make_console, write_answer
from redteam_env.utils.files import write_text
from redteam_env.utils.tables import Column, FittedTable
from redteam_env.utils.text import safe_text
from redteam_env.worlds import check_fit

Name = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="JUDGE")]
Json = Annotated[bool, tyro.conf.arg(name="json"), tyro.conf.FlagCreatePairsOff]
Mix = Annotated[bool, tyro.conf.FlagCreatePairsOff]
Out = Annotated[Path | None, shown_as("FILE", "none")]
Url = Annotated[str | None, shown_as("URL", "none")]
GAMES = 200
"""Of the rates that are shown as an example."""
_SHOWN_ERRORS = 3


def calibrate_judge(
    name: Name,
    /,
    *,
    labels: Annotated[str, shown_as("SET")],
    judge_url: Url = None,
    out: Out = None,
    mix_worlds: Mix = False,
    seed: int = 0,
    as_json: Json = False,
) -> None:
    """Measure a judge on dialogues that people labelled, and keep what was found.

    From then on every table of this judge (of this revision and prompt) shows its sensitivity and
    specificity, and each rate corrected for its errors beside the raw one. A judge that does not say its
    revision is known by its address and settings; the tables say so.

    Files of labels take the options prompt, response, prompt_harmful, response_refusal and response_harmful
    for their columns, threshold for labels that are scores, and rows.

    Args:
        name: A judge, such as lexical, or vote:A+B+C.
        labels: pyrit, pyrit_objective, or a file such as 'a.csv?response_harmful=unsafe'; several between commas.
        judge_url: Address of the judge's server.
        out: Also write the calibration into this file.
        mix_worlds: Ask a judge that cannot read the dialogues' language, such as a world's about English ones.
        seed: Sets the random draws of the intervals.
        as_json: Print JSON instead of tables.
    """
    _check_out(out)
    judge = resolve_judge(name, url=judge_url)
    check_known(judge)
    labelled = resolve_labels(labels)
    rows = enumerate(labelled.rows, start=1)
    requests = [Seed(id=f"{x.source}:{k}", text=x.dialogue.prompt, harmful=True) for k, x in rows]
    check_fit(labels, judge, source=requests, mix=mix_worlds, option="labelled set")
    check_ready(judge)
    with judging(name, judge_url) as progress:
        verdicts = ask(judge, labelled, progress)
    failed = Counter(verdict.error for verdict in verdicts if verdict.error is not None)
    found = calibrate(judge, labelled, verdicts, seed=seed)
    if not found.fields:
        asked = sorted({field for row in labelled.rows for field in row.labels})
        reason = failed.most_common(1)[0][0] if failed else f"it does not tell {', '.join(asked)}"
        raise RedteamError(
            f"The judge {judge.name!r} answered nothing that {len(verdicts)} dialogues are labelled for, so "
            f"nothing was measured: {reason}."
        )
    text = json.dumps(found.to_json(), indent=1, allow_nan=False) + "\n"
    try:
        if out is not None:
            write_text(out, text)
        kept = store(found)
    finally:
        if as_json:
            write_answer(text)
        else:
            _print(judge, labelled, found, failed)
    if not as_json:
        make_console().print(safe_text(f"Kept in {kept}"), soft_wrap=True)


def _check_out(out: Path | None) -> None:
    if out is not None and (out.exists() or not out.resolve().parent.is_dir()):
        raise RedteamError(
            f"--out {str(out)!r} is there already, or its folder is missing; name a new file, nothing is "
            "overwritten."
        )


def _print(judge: Judge, labelled: LabelledSet, found: Calibration, failed: Counter[str]) -> None:
    console = make_console()
    for field in found.fields.values():
        console.print(safe_text(f"{field.field}, on {field.labels}", "bold"))
        console.print(_table(field))
        console.print(
            f"{field.dialogues} dialogues with {field.prompts} different prompts, which are drawn as a "
            f"whole; {field.unknown} without an answer of the judge, in no figure."
        )
        console.print(_stands_for(field))
    for error, number in failed.most_common(_SHOWN_ERRORS):
        console.print(safe_text(f"  {number} x {' '.join(error.split())}"))
    for card in labelled.cards:
        console.print(
            safe_text(f"Labels: {card.name}, {card.licence}; {card.origin}"), soft_wrap=True
        )
    console.print(judge_line(judge.name, judge.smoke_only))
    for line in place_lines(found):
        console.print(line, soft_wrap=True)


def _table(field: FieldCalibration) -> FittedTable:
    table = FittedTable("figure", "value [95 % interval]", Column(heading="answers", drop=1))
    shares = {
        "accuracy": field.accuracy,
        "precision": field.precision,
        "recall (sensitivity)": field.sensitivity,
        "specificity": field.specificity,
    }
    for name, share in shares.items():
        table.row(name, _cell(share.value, share.interval), f"{share.k}/{share.n}")
    scores = {"F1": field.f1, "AUC": field.auc, "calibration error (ECE)": field.ece}
    for name, score in scores.items():
        cell = Text("-") if score is None else _cell(score.value, score.interval)
        table.row(name, cell, "")
    return table


def _cell(value: float | None, interval: Interval) -> Text:
    if value is None:
        return Text("-")
    return Text(f"{value:.3f} [{interval.low:.3f}, {interval.high:.3f}]")


def _stands_for(field: FieldCalibration) -> FittedTable:
    """Return what raw rates of other games would stand for."""
    table = FittedTable(f"raw rate in {GAMES} games", CORRECTED)
    for percent in (5, 20, 50, 80):
        k = GAMES * percent // 100
        found = rogan_gladen(Share(k, GAMES, GAMES), field.sensitivity, field.specificity)
        cell = Text(found.reason) if found.reason else _cell(found.value, found.interval)
        table.row(f"{percent / 100:.2f}", cell)
    return table
