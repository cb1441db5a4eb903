"""Evaluation suites: their games or questions are read once, when a suite is made."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redteam_env.border.agents import check_agent
from redteam_env.border.calls import Plugin, attribute, call, each, mapping, record
from redteam_env.border.records import address, setups
from redteam_env.game import RedteamError
from redteam_env.game.values import Unfit, flag, shown, text
from redteam_env.protocols import Agent, GameSetup, QuestionSuite, RequestSuite, TurnRequest


class _Checked:
    """Hands out what else a suite offers, such as the questions behind its requests."""

    __slots__ = ()
    plugin: Plugin

    def __getattr__(self, name: str) -> Any:
        if name == "plugin" or name.startswith("__"):  # while a copy is made there is none yet
            raise AttributeError(name)
        return getattr(self.plugin.thing, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedRequests(_Checked):
    """A suite of requests (:class:`~redteam_env.protocols.RequestSuite`) whose games were read.

    Attributes:
        plugin: The suite.
        rewritten: Whether its requests are rewritten.
        setups: The games.
        refusals: Texts that defenders trained for it refuse with; empty where the suite has none.
    """

    plugin: Plugin
    rewritten: bool
    setups: Sequence[GameSetup]
    refusals: Sequence[str] = ()

    def attacker(self) -> Agent:
        """Return who plays the attacker's seat.

        Raises:
            RedteamError: If the suite raises, or returns no agent.
        """
        what = f"attacker of the {self.plugin.what}"
        return call(
            self.plugin,
            "attacker",
            returns="an agent (redteam_env.Agent)",
            read=lambda value: check_agent(value, what),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedQuestions(_Checked):
    """A suite of questions (:class:`~redteam_env.protocols.QuestionSuite`) that were read.

    Attributes:
        plugin: The suite.
        requests: The questions.
    """

    plugin: Plugin
    requests: Sequence[TurnRequest]

    def right(self, k: int, text: str) -> bool:
        """Return whether a text answers the k-th question.

        Raises:
            RedteamError: If the suite raises, or returns anything else than true or false.
        """
        return call(
            self.plugin,
            "right",
            k,
            text,
            returns="True or False",
            read=_right,
            games=lambda _: f"question {k}",
        )


def _right(value: Any) -> bool:
    try:
        return flag(value)
    except Unfit as unfit:
        raise Unfit(f"returned {shown(value)}", unfit.give) from None


def check_suite(suite: Any, name: str) -> CheckedRequests | CheckedQuestions:
    """Return a suite with its games or questions read.

    Args:
        suite: What the suite's plug-in made.
        name: The suite's name.

    Raises:
        RedteamError: If it is neither a suite of requests nor of questions, or a game or question is none.
    """
    plugin = Plugin(suite, f"suite {name!r}")
    if isinstance(suite, QuestionSuite):
        return CheckedQuestions(plugin=plugin, requests=attribute(plugin, "requests", _questions))
    if isinstance(suite, RequestSuite):
        return CheckedRequests(
            plugin=plugin,
            rewritten=attribute(plugin, "rewritten", flag),
            setups=attribute(plugin, "setups", _setups),
            refusals=attribute(plugin, "refusals", _refusals, ()),
        )
    raise RedteamError(
        f"The suite {name!r} is {type(suite).__name__}, which has neither setups, attacker() and "
        "rewritten, nor requests and right(); see redteam_env.protocols.suites."
    )


def _setups(value: Any) -> list[GameSetup]:
    return _some(setups(value))


def _questions(value: Any) -> list[TurnRequest]:
    return _some(each(value, _question, noun="TurnRequests"))


def _question(value: Any) -> TurnRequest:
    readers = {"seat": text, "role": text, "path": address, "game": address, "prefill": text}
    return record(value, TurnRequest, {**readers, "messages": _messages})


def _messages(value: Any) -> list[dict[str, str]]:
    return each(value, lambda message: mapping(message, text, "texts"), noun="messages")


def _refusals(value: Any) -> list[str]:
    return each(value, text, noun="texts")


def _some(found: list[Any]) -> list[Any]:
    if not found:
        raise Unfit("is empty", "give at least one")
    return found
