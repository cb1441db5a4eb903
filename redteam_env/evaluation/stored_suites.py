"""An evaluation of suites that was stored, scored again under another judge.

The games come from a directory that ``evaluate --suite`` wrote, which may be a stranger's: its plan names the
suites and their metrics, and each suite's games are in a file of their own. The figures are those of
:func:`redteam_env.evaluation.suite_scores.score_suite`, under both judges: a judge that knows only harm gives
the figures of harm and no other, and no game is void for what it leaves open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redteam_env.evaluation.agreement import Agreement
from redteam_env.evaluation.attempts import WithinAttempts, ended_by_success, success_growth
from redteam_env.evaluation.calibration import Calibration
from redteam_env.evaluation.rejudge import Asked, agreement_on, under
from redteam_env.evaluation.stored import GAMES, PLAN, REJUDGED, REPORT, SCHEMA, read_games
from redteam_env.evaluation.suite_play import SuiteResult, suite_result
from redteam_env.evaluation.suite_scores import Tried
from redteam_env.game import Episode, RedteamError, Verdict
from redteam_env.suites import Suite
from redteam_env.suites.card import FORMS, DataPart, SuiteCard, card_names, read_card
from redteam_env.trust import check_links
from redteam_env.utils.files import read_record

_RESTORE = "Restore it, or name another directory."
_LONGEST = 200
_MOST_ATTEMPTS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSuite:
    """The games of one suite.

    Attributes:
        name: What it is called among those that were played together.
        file: Where they are, from their directory.
        card: The suite, as far as its plan tells.
        has_contexts: Whether its judge reads requests with their contexts.
        tried: For each request its attempts, in order.
    """

    name: str
    file: str
    card: SuiteCard
    has_contexts: bool
    tried: Tried

    @property
    def episodes(self) -> list[Episode]:
        """All games."""
        return [game for games in self.tried for game in games]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSuites:
    """An evaluation of suites.

    Attributes:
        plan: What made it, as it stands in the directory.
        defender: Who answered.
        judge: Who judged then.
        attempts: Most attempts at each request.
        attack: The standing attack that made them, if one did.
        suites: The suites that were played.
        again: Whether they were judged again before, by another judge than the attack's.
    """

    plan: Mapping[str, Any]
    defender: str
    judge: str
    attempts: int
    attack: str | None
    suites: Sequence[StoredSuite]
    again: bool = False

    @property
    def episodes(self) -> list[Episode]:
        """The games of all suites."""
        return [game for suite in self.suites for game in suite.episodes]


@dataclass(frozen=True, slots=True, kw_only=True)
class RejudgedSuite:
    """One suite under the judge that it was played with, and under another one.

    Attributes:
        before: As it was judged.
        after: As the other judge judges it.
        within: Success within 1, 2, ... attempts, then and now; empty with one attempt.
        agreement: How far the two judges agree on each question, over all attempts.
    """

    before: SuiteResult
    after: SuiteResult
    within: tuple[Sequence[WithinAttempts], Sequence[WithinAttempts]]
    agreement: Mapping[str, Agreement]

    @property
    def cut(self) -> int:
        """How many searches were cut short (:func:`~redteam_env.evaluation.attempts.cut_short`), to the judge to whom more were."""
        return max(sum(row.cut for row in side.rows) for side in (self.before, self.after))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON without text of any player."""
        then, now = ([x.to_json() for x in own] for own in self.within)
        return {
            "name": self.after.name,
            "title": self.after.suite.card.title,
            "judge_meant": self.after.suite.card.judge,
            "before": [row.to_json() for row in self.before.rows],
            "after": [row.to_json() for row in self.after.rows],
            "success_within": {"before": then, "after": now},
            "agreement": {name: x.to_json() for name, x in self.agreement.items()},
        }


def stored_suites(place: Path) -> StoredSuites:
    """Return the games of an evaluation of suites.

    Args:
        place: What ``evaluate --suite`` wrote with ``--out``; of one that was interrupted, the suites that
            were played.

    Raises:
        RedteamError: If it holds no games, or a file is damaged.
    """
    folder = place.expanduser()
    check_links(folder)
    file = folder / PLAN
    plan = read_record(file, remedy=_RESTORE, schema=SCHEMA, needed=["settings", "suites", "judge"])
    settings, listed, judge = (plan[x] for x in ("settings", "suites", "judge"))
    if not all(isinstance(x, dict) for x in (settings, listed, judge)):
        raise RedteamError(f"{str(file)!r} is no plan of an evaluation of suites. {_RESTORE}")
    attempts = settings.get("attempts", 1)
    if type(attempts) is not int or not 1 <= attempts <= _MOST_ATTEMPTS:
        raise RedteamError(f"{str(file)!r} tells of {attempts!r} attempts. {_RESTORE}")
    report = _report(folder)
    told = _told_of(report)
    known = {games.stem: games for games in sorted((folder / GAMES).glob("*.jsonl"))}
    suites = [
        StoredSuite(
            name=name,
            file=known[name].relative_to(folder).as_posix(),
            card=_card(name, told.get(name, {}), own, file),
            has_contexts=_form(name, own, file) == "context",
            tried=_tried(read_games(known[name])),
        )
        for name, own in listed.items()
        if name in known
    ]
    if not any(suite.tried for suite in suites):
        raise RedteamError(f"{str(place)!r} holds no games of suites; none was played to its end.")
    return StoredSuites(
        plan=plan,
        defender=_told(settings.get("defender"), "defender"),
        judge=_told(judge.get("name"), "?"),
        attempts=attempts,
        attack=_told(settings.get("attack"), "") or None,
        suites=[suite for suite in suites if suite.tried],
        again=report.get("command") == REJUDGED,
    )


def rejudge_suite(
    suite: StoredSuite,
    stored: StoredSuites,
    verdicts: Mapping[Asked, Verdict],
    *,
    judge: str,
    calibration: Calibration | None = None,
    seed: int = 0,
) -> RejudgedSuite:
    """Score a suite under both judges.

    Args:
        suite: Its games.
        stored: The evaluation that it belongs to.
        verdicts: What the other judge says of them, from
            :func:`redteam_env.evaluation.rejudge.verdicts_on`.
        judge: The other judge.
        calibration: What is known of it.
        seed: Sets the bootstrap's random draws.
    """
    again = [[under(game, verdicts) for game in games] for games in suite.tried]
    searched = stored.attack is not None
    ended = ended_by_success(suite.tried, again=stored.again) if searched else None
    whole = Suite(card=suite.card, seeds=(), sources=())

    def scored(tried: Tried, judge: str, calibration: Calibration | None) -> SuiteResult:
        return suite_result(
            whole,
            tried,
            name=suite.name,
            judge=judge,
            seed=seed,
            attempts=stored.attempts,
            attacked={"attack": stored.attack} if searched else None,
            ended=ended,
            calibration=calibration,
        )

    def within(tried: Tried) -> list[WithinAttempts]:
        if stored.attempts == 1 or "harmful" not in suite.card.metric:
            return []
        return success_growth(tried, stored.attempts, searched=searched, ended=ended)

    return RejudgedSuite(
        before=scored(suite.tried, stored.judge, None),
        after=scored(again, judge, calibration),
        within=(within(suite.tried), within(again)),
        agreement=agreement_on(suite.episodes, verdicts, seed=seed),
    )


def _tried(episodes: Sequence[Episode]) -> Tried:
    """Return the attempts at each request; those at one request follow each other and have one group."""
    tried: dict[int, list[Episode]] = {}
    for episode in episodes:
        tried.setdefault(episode.group, []).append(episode)
    for games in tried.values():
        if any(game.seed != games[0].seed for game in games):
            raise RedteamError(f"Attempts of one group have several requests. {_RESTORE}")
    return list(tried.values())


def _card(name: str, told: Mapping[str, Any], own: Any, file: Path) -> SuiteCard:
    metric = own.get("metric") if isinstance(own, dict) else None
    if not isinstance(metric, dict):
        raise RedteamError(f"{str(file)!r} has no metric of the suite {name!r}. {_RESTORE}")
    try:
        return SuiteCard(
            name=name,
            title=_told(told.get("title"), name),
            source="",
            licence="",
            data=(DataPart(),),
            metric=metric,
            judge=_told(told.get("judge_meant"), ""),
        )
    except RedteamError as error:
        raise RedteamError(f"{str(file)!r}, suite {name!r}: {error} {_RESTORE}") from error


def _form(name: str, own: Any, file: Path) -> str:
    """Return how a suite's requests were put; a plan that does not tell is read with our card of that name."""
    form = own.get("form")
    if form is None:
        return read_card(name).form if name in card_names() else FORMS[0]
    if form not in FORMS:
        raise RedteamError(
            f"{str(file)!r} has {form!r} as the form of the suite {name!r}, which is none of "
            f"{', '.join(FORMS)}. {_RESTORE}"
        )
    return str(form)


def _report(folder: Path) -> Mapping[str, Any]:
    """Return a finished evaluation's report; nothing of one that was interrupted."""
    if not (folder / REPORT).is_file():
        return {}
    return read_record(folder / REPORT, remedy=_RESTORE, schema=SCHEMA)


def _told_of(report: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return what a report tells of its suites, by their names."""
    rows = report.get("result")
    if isinstance(rows, dict):  # of one that was judged again before
        rows = rows.get("suites")
    known = [x for x in rows if isinstance(x, dict)] if isinstance(rows, list) else []
    return {row["name"]: row for row in known if isinstance(row.get("name"), str)}


def _told(value: Any, default: str) -> str:
    return value[:_LONGEST] if isinstance(value, str) and value else default
