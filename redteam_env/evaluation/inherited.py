"""The settings that games between agents are played with: given ones, a world's, else the first run's."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from redteam_env.evaluation.agents import first_run
from redteam_env.game import JUDGE
from redteam_env.judges.backends import KEY_VARIABLE
from redteam_env.runs import Run
from redteam_env.trust import allow, is_own, options_of
from redteam_env.utils.argv import spelled
from redteam_env.utils.consent import confirm
from redteam_env.worlds.resolve import world_options


def settings_for(
    specs: Sequence[str],
    given: Mapping[str, Any],
    names: Iterable[str],
    *,
    judge_seat: bool = False,
) -> dict[str, Any]:
    """Return settings, with those of a world and of the first run among agents as defaults.

    Places and servers that only somebody else's run names are to be confirmed first
    (:mod:`redteam_env.trust`).

    Args:
        specs: The agents, as a user names them.
        given: Settings that the user gave; ``None`` is none.
        names: The names of all settings that are wanted.
        judge_seat: Whether the judge's seat is played, too.

    Returns:
        For each name the value, or ``None`` where nobody says one.

    Raises:
        RedteamError: If a run cannot be read, or nobody confirms a place or server that it names.
    """
    run = first_run(specs)
    config = stored = {} if run is None else options_of(run) or {}
    if given.get("world") is not None:
        brought = world_options(given["world"], judge=given.get("judge"))
        config = config | {"judge_url": None, **brought}
    values = {x: config.get(x) if given.get(x) is None else given[x] for x in names}
    if given.get("judge") is not None:
        values["judge_url"] = given.get("judge_url")
    if given.get("thinking") is None and not judge_seat:
        values["thinking"] = _without_judge(config.get("thinking"))
    if run is not None:
        unnamed = {x: y for x, y in values.items() if given.get(x) is None}
        _allow(run, {x: y for x, y in unnamed.items() if x == "judge_url" or y == stored.get(x)})
    return values


def _allow(run: Run, values: Mapping[str, Any]) -> None:
    """Have the user confirm what a run's own settings name."""
    url = values.get("judge_url")
    if url is not None and not is_own(run):
        confirm(
            f"the judge's server {url!r}, to be asked with the key in {KEY_VARIABLE}",
            source=f"The config.json of {str(run.path)!r}",
            named_by=spelled("judge_url", url),
        )
    allow(run, {x: y for x, y in values.items() if x != "judge_url"})


def _without_judge(thinking: str | None) -> str | None:
    """Return a run's thinking rules without that of a judge's seat."""
    parts = [x for x in (thinking or "").split(",") if x.partition("=")[0].strip() != JUDGE]
    return ",".join(parts) or None
