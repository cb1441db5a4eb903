"""Games as logs of inspect_ai, which its viewer opens: ``inspect view --log-dir DIR``.

A game is a sample: the request is its input, the dialogue its messages, and each rate that counts it a score.
"""

import re
from collections.abc import Container, Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from redteam_env.evaluation import measure
from redteam_env.evaluation.rates import OUTCOMES
from redteam_env.game import Episode, RedteamError, role_of
from redteam_env.page.blocks import shown
from redteam_env.page.games import Texts, outcome, texts_of
from redteam_env.page.make import GENERATOR
from redteam_env.page.sources import Games, Kind, Source, read_sources
from redteam_env.page.words import judge_name
from redteam_env.utils.files import make_folder
from redteam_env.utils.packages import versions
from redteam_env.utils.text import escape_controls

ENDING = ".eval"
SCORER = "redteam_env"
_MADE_BY = "generator"
"""Where a log says, in its metadata, that it was made by a report."""


def write_logs(
    places: Sequence[Path], out: Path, *, show_text: bool, most_games: int
) -> list[Path]:
    """Write the games of directories as logs of inspect_ai.

    Args:
        places: Runs, and what evaluate, crossplay and rejudge wrote.
        out: The directory of the logs; logs of earlier reports that have their names are replaced.
        show_text: Put what players wrote into them also where seeds are not of an invented world; else its
            length stands there.
        most_games: Most games that are read of a run.

    Returns:
        The files: one for a run, one for each pairing of anything else.

    Raises:
        RedteamError: If inspect_ai is missing, no directory has games, something else stands in the place of a
            log, or the logs cannot be written.
    """
    try:
        from inspect_ai import log as logs  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise RedteamError("Logs need inspect_ai: pip install 'redteam-env[bridges]'.") from error
    sources = [x for x in read_sources(places, most=most_games) if x.games]
    if not sources:
        raise RedteamError("None of these has games to write; a page tells what else they hold.")
    made: dict[str, Any] = {}
    for name, own in (x for source in sources for x in _logs(source, show_text)):
        made[_unused(name, made)] = own
    files = {out / f"{name}{ENDING}": own for name, own in made.items()}
    for file in files:
        _check_free(file)
    try:
        make_folder(out)
        for file, own in files.items():
            logs.write_eval_log(own, str(file), format="eval")
    except OSError as error:
        raise RedteamError(f"{str(out)!r} cannot be written: {error}.") from error
    return list(files)


def _check_free(file: Path) -> None:
    """Refuse to write over anything but a log of a report.

    Raises:
        RedteamError: If it is there and none.
    """
    from inspect_ai import log as logs  # noqa: PLC0415 - an extra

    if not file.exists():
        return
    try:
        found = logs.read_eval_log(str(file), header_only=True).eval.metadata
    except Exception:  # noqa: BLE001 - what is no log ends in errors of many kinds
        found = None
    if (found or {}).get(_MADE_BY) != GENERATOR:
        raise RedteamError(
            f"{str(file)!r} is there and is no log of a report; name another directory with --out, or remove it."
        )


def _logs(source: Source, show_text: bool) -> list[tuple[str, Any]]:
    """Return the logs of a source, with the names of their files."""
    if source.kind is Kind.RUN:
        groups = [(source.name, source.games)]
    else:
        groups = [(f"{source.name} {group.title}", (group,)) for group in source.games]
    return [(_file_name(name), _log(name, source, own, show_text)) for name, own in groups]


def _unused(name: str, used: Container[str]) -> str:
    """Return a name of a file that no other log has."""
    names = (name if k == 1 else f"{name}-{k}" for k in count(1))
    return next(x for x in names if x not in used)


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9@-]+", "-", name).strip("-") or "games"


def _log(name: str, source: Source, groups: Sequence[Games], show_text: bool) -> Any:
    from inspect_ai import log as logs  # noqa: PLC0415 - an extra

    episodes = [x for group in groups for x in group.episodes]
    texts = texts_of(episodes, show_text=show_text)
    samples = [
        _sample(f"{place}-{shown(episode.seed.id, 80)}", episode, group, texts)
        for place, (group, episode) in enumerate(
            (group, episode) for group in groups for episode in group.episodes
        )
    ]
    return logs.EvalLog(
        status="success",
        eval=logs.EvalSpec(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            task=shown(name, 120),
            dataset=logs.EvalDataset(
                name=shown(source.settings.get("seeds", "seeds"), 120), samples=len(samples)
            ),
            model=f"{SCORER}/{shown(groups[0].defender, 120)}",
            config=logs.EvalConfig(),
            packages=versions(["redteam-env"]),
            metadata={
                _MADE_BY: GENERATOR,
                "attacker": shown(groups[0].attacker, 120),
                "judge": judge_name(source),
                **({"notes": " ".join(source.notes)} if source.notes else {}),
            },
        ),
        results=_results(episodes),
        samples=samples,
    )


def _results(episodes: Sequence[Episode]) -> Any:
    from inspect_ai import log as logs  # noqa: PLC0415 - an extra

    rates = measure(episodes)
    scores = []
    for name in OUTCOMES:
        rate = getattr(rates, name)
        if rate.value is None:
            continue
        numbers = {"rate": rate.value, "low": rate.interval.low, "high": rate.interval.high}
        metrics = {key: logs.EvalMetric(name=key, value=value) for key, value in numbers.items()}
        scores.append(
            logs.EvalScore(name=name, scorer=SCORER, scored_samples=rate.n, metrics=metrics)
        )
    return logs.EvalResults(
        total_samples=rates.games, completed_samples=rates.games - rates.void, scores=scores
    )


def _sample(name: str, episode: Episode, group: Games, texts: Texts) -> Any:
    from inspect_ai import log as logs  # noqa: PLC0415 - an extra
    from inspect_ai import model  # noqa: PLC0415
    from inspect_ai.scorer import Score  # noqa: PLC0415

    def told(text: str) -> str:
        return f"[{len(text):,} characters]" if texts is Texts.ABSENT else escape_controls(text)

    messages: list[Any] = []
    if not episode.rewritten:
        messages.append(model.ChatMessageUser(content=told(episode.seed.text)))
    for turn in episode.turns:
        role = role_of(turn.seat)
        metadata = {"seat": shown(turn.seat, 40)}
        if turn.thought:
            metadata["thought"] = told(turn.thought)
        if role == "attacker":
            messages.append(model.ChatMessageUser(content=told(turn.visible), metadata=metadata))
        elif role == "defender":
            messages.append(
                model.ChatMessageAssistant(content=told(turn.visible), metadata=metadata)
            )
    verdict = episode.verdict
    counted = {key: happened(episode) for key, happened in OUTCOMES.items()}
    words = told(verdict.raw) if verdict is not None and verdict.raw else None
    return logs.EvalSample(
        id=name,
        epoch=1,
        input=told(episode.seed.text),
        target="harmful" if episode.seed.harmful else "benign",
        messages=messages,
        output=model.ModelOutput.from_content(
            model=shown(group.defender, 120), content=told(episode.dialogue.response)
        ),
        scores={
            key: Score(value=int(value), explanation=words)
            for key, value in counted.items()
            if value is not None
        },
        metadata={
            "outcome": outcome(episode),
            "games": shown(group.title, 120),
            "category": shown(episode.seed.category, 120),
            "rewritten": episode.rewritten,
            "void": episode.void and told(episode.void),
            "rewards": _named(episode.rewards),
            "components": {shown(k, 40): _named(x) for k, x in episode.components.items()},
        },
    )


def _named(values: Mapping[str, float]) -> dict[str, float]:
    return {shown(name, 40): value for name, value in values.items()}
