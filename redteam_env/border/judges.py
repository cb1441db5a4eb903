"""Judges: their names, their verdicts, and the events that exact ones can tell."""

from collections.abc import Sequence
from typing import Any

from redteam_env.border.calls import (
    Games,
    Plugin,
    as_it_is,
    attribute,
    call,
    each,
    game_name,
    games_of,
    mapping,
    method_of,
)
from redteam_env.border.functions import asked_by
from redteam_env.border.records import verdict
from redteam_env.game import Dialogue, Episode, RedteamError, Seed, Verdict
from redteam_env.game.values import Unfit, flag, number, optional, text
from redteam_env.protocols import ContentMeasure, ExactJudge, Judge

_VERDICTS = (
    "a sequence of redteam_env.Verdict, one for each dialogue, in order; a failure is a verdict with "
    "error"
)


def verdicts(
    judge: Judge,
    dialogues: Sequence[Dialogue],
    games: Games | None = None,
    *,
    seeds: Sequence[Seed] | None = None,
) -> list[Verdict]:
    """Return a judge's verdicts, one for each dialogue.

    Args:
        judge: Who is asked.
        dialogues: The public dialogues; about none the judge is not asked.
        seeds: Each dialogue's seed, for a judge that is to be told.
        games: Names the game of the k-th; by default messages count the dialogues.

    Raises:
        RedteamError: If it raises, or returns anything else than as many verdicts as there are dialogues,
            each field of them true, false or ``None``.
    """
    count = len(dialogues)
    if not count:
        return []
    told = seeds is not None and is_seeded(judge)
    return call(
        named(judge),
        "judge_seeded" if told else "judge",
        *((dialogues, seeds) if told else (dialogues,)),
        returns=asked_by(judge, _VERDICTS)[1],
        read=lambda value: each(
            value, verdict, noun="verdicts", count=count, to=f"on {count} dialogues"
        ),
        games=games or games_of(lambda k: f"dialogue {k + 1} of {count}", count),
    )


def is_seeded(judge: Judge) -> bool:
    """Whether a judge is to be told the seeds (:class:`redteam_env.protocols.SeedJudge`)."""
    # isinstance() of a protocol takes longer than most scripted games
    return callable(getattr(judge, "judge_seeded", None))


def named(judge: Any) -> Plugin:
    """Return a judge as messages name it."""
    try:
        name = getattr(judge, "name", None)
    except Exception:  # noqa: BLE001 - it has no name that could be told
        name = None
    what = f"judge {name if isinstance(name, str) else type(judge).__name__!r}"
    return Plugin(judge, what, methods=False, asks=asked_by(judge, "")[0])


def notice(judge: Any) -> str | None:
    """Return the line that commands say at their start about a judge, if it has one."""
    said: str | None = attribute(named(judge), "notice", optional(text))
    return said


def reads_message(judge: Any) -> bool:
    """Whether what a judge says of harm depends on the attacker's message, as it does unless a judge denies it."""
    read: bool | None = attribute(named(judge), "reads_message", optional(flag))
    return read is not False


def is_concurrent(judge: Any) -> bool:
    """Whether agents may go on while a judge is asked."""
    return attribute(named(judge), "concurrent", optional(flag)) is True


def content_of(judge: Any) -> ContentMeasure | None:
    """Return what compares rewrites with their seeds, if a judge can."""
    found: ContentMeasure | None = attribute(named(judge), "content", as_it_is)
    return found


def said(judge: Any, name: str) -> str:
    """Return what a judge says of itself under a name; empty if it does not say it."""
    text_or_none: str | None = attribute(named(judge), name, optional(text))
    return text_or_none or ""


def check_judge(judge: Any, what: str = "") -> Judge:
    """Return a judge if it has what its protocol asks for.

    Args:
        judge: The judge.
        what: What messages call it; by default by its name.

    Raises:
        RedteamError: If it has no method ``judge``, no name, or does not say what it is good for.
    """
    plugin = Plugin(judge, what) if what else named(judge)
    method_of(plugin, "judge")
    name = attribute(plugin, "name", as_it_is)
    smoke_only = attribute(plugin, "smoke_only", as_it_is)
    if not isinstance(name, str) or not name or not isinstance(smoke_only, bool):
        raise RedteamError(
            f"The {plugin.what} has the name {name!r} and smoke_only {smoke_only!r}; a judge has a name "
            "(non-empty text) and smoke_only (True if its verdicts are for tests only)."
        )
    checked: Judge = judge
    return checked


def content_scores(
    measure: ContentMeasure,
    what: str,
    seeds: Sequence[Seed],
    rewrites: Sequence[str],
    games: Games | None = None,
) -> list[float | None]:
    """Return how far each rewrite asks for what its seed asks for.

    Args:
        measure: Who compares them.
        what: What messages call it.
        seeds: The seeds; about none it is not asked.
        rewrites: A rewrite of each.
        games: Names the game of the k-th.

    Raises:
        RedteamError: If it raises, or returns anything else than a number from -1 to 1, or ``None``, for
            each.
    """
    count = len(seeds)
    if not count:
        return []
    return call(
        Plugin(measure, what),
        "scores",
        seeds,
        rewrites,
        returns="a number from -1 to 1, or None, for each rewrite, in order",
        read=lambda value: each(
            value, optional(_score), noun="scores", count=count, to=f"of {count} rewrites"
        ),
        games=games,
    )


def _score(value: Any) -> float:
    score = number(value)
    if not -1 <= score <= 1:
        raise Unfit(f"is {score!r}", "give a number from -1 to 1")
    return score


def outcomes(judge: ExactJudge, episode: Episode) -> dict[str, bool]:
    """Return whether each event that only an exact judge can tell happened in a game.

    Raises:
        RedteamError: If it raises, or returns anything else than true or false by name.
    """
    return call(
        Plugin(judge, named(judge).what),
        "outcomes",
        episode,
        returns="true or false for each event, by name",
        read=lambda value: mapping(value, flag, "booleans"),
        games=lambda _: game_name(episode.path, episode.seed),
    )
