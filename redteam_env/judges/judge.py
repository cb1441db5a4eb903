"""A judge is a template, a parser and a backend.

The template turns a public dialogue into a query, the backend gets the query answered (by a server
or a model in process), the parser reads the answer. What goes wrong on the way is said in the
verdict: a judge that fails must never count as one that found a game safe or harmful.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from redteam_env.border import agents
from redteam_env.border.calls import Plugin, call, each, record
from redteam_env.border.judges import named
from redteam_env.game import ATTACKER, DEFENDER, Dialogue, Line, RedteamError, Verdict
from redteam_env.game.values import optional, text
from redteam_env.protocols import Usage

RAW_LIMIT = 2000
"""Longest text of a judge, in characters, that is kept in a verdict."""

_ASKED_AT_START = (
    ("What is the capital of France?", "The capital of France is Paris."),
    ("Write one sentence about the sea.", "The sea is wide and blue."),
    ("How many days has a week?", "A week has seven days."),
)
PROBES = tuple(
    Dialogue(lines=(Line(seat=ATTACKER, text=prompt), Line(seat=DEFENDER, text=response)))
    for prompt, response in _ASKED_AT_START
)
"""Harmless dialogues by which :meth:`TemplateJudge.ready` finds out whether a judge works."""

Query = TypeVar("Query")
Query_contra = TypeVar("Query_contra", contravariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What a backend has to say to one query: a text, or why there is none.

    Attributes:
        text: The answer; ``None`` after a failure.
        error: A short reason without any of the query's text; ``None`` if there is an answer.
    """

    text: str | None = None
    error: str | None = None


def _completion(value: Any) -> Completion:
    return record(value, Completion, {"text": optional(text), "error": optional(text)})


class Backend(Protocol[Query_contra]):
    """Gets queries answered: by a server, or by a model in process.

    It may also have a method ``ready()``, which raises a ``RedteamError`` if nobody would answer,
    and attributes ``concurrent`` and ``usage``, as :class:`~redteam_env.protocols.Judge` has them.
    """

    def complete(self, queries: Sequence[Query_contra], /) -> Sequence[Completion]:
        """Return one completion for each query, in order. A failure is one with ``error``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateJudge(Generic[Query]):
    """A judge made of three exchangeable parts.

    Attributes:
        name: Goes into every verdict and report.
        template: Turns a dialogue into the backend's query. It must treat the dialogue as hostile.
        parser: Turns the answer's text into a verdict; a text it cannot read becomes a verdict with
            ``error``.
        backend: Gets the queries answered.
        smoke_only: Whether its verdicts are good for tests but not for reported numbers.
    """

    name: str
    template: Callable[[Dialogue], Query]
    parser: Callable[[str], Verdict]
    backend: Backend[Query]
    smoke_only: bool = False

    @property
    def concurrent(self) -> bool:
        """Whether agents may go on while it is asked: what its backend says, by default not."""
        return bool(getattr(self.backend, "concurrent", False))

    @property
    def usage(self) -> Usage | None:
        """What its backend took so far; ``None`` if that does not count."""
        return getattr(self.backend, "usage", None)

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        """Judge public dialogues.

        Args:
            dialogues: The dialogues.

        Returns:
            One verdict for each dialogue, in order. A failed request and an unreadable answer are
            verdicts with ``error``.

        Raises:
            RedteamError: If the backend breaks its contract and returns another number of answers.
        """
        if not dialogues:
            return []
        queries = [self.template(dialogue) for dialogue in dialogues]
        count = len(queries)
        answers = call(
            Plugin(self.backend, f"backend of the judge {self.name!r}", methods=False),
            "complete",
            queries,
            returns="one Completion for each query, in order; a failure is one with error",
            read=lambda value: each(
                value, _completion, noun="completions", count=count, to=f"to {count} queries"
            ),
        )
        return [self._verdict(answer) for answer in answers]

    def _verdict(self, answer: Completion) -> Verdict:
        if answer.error is not None or answer.text is None:
            return Verdict(judge=self.name, error=answer.error or "the backend gave no text")
        try:
            verdict = replace(self.parser(answer.text), raw=answer.text[:RAW_LIMIT])
        except Exception as error:  # noqa: BLE001 - a parser that stumbles over a text must not end a run
            failure = f"the parser failed with {type(error).__name__}"
            verdict = Verdict(error=failure, raw=answer.text[:RAW_LIMIT])
        return replace(verdict, judge=self.name)

    def ready(self) -> None:
        """Find out whether the judge works, before a run depends on it.

        Three harmless dialogues are judged; one readable answer is enough, because a good judge may
        fail now and then. This method is optional for judges: see :func:`check_ready`.

        Raises:
            RedteamError: If nobody answers, or no answer can be read.
        """
        agents.check_ready(self.backend, f"backend of the judge {self.name!r}")
        verdicts = self.judge(PROBES)
        if all(verdict.error is not None for verdict in verdicts):
            raise RedteamError(
                f"The judge {self.name!r} is not usable: {verdicts[0].error} (asked about "
                f"{len(verdicts)} harmless test dialogues). Check its address, its model and its key."
            )


def check_ready(judge: Any) -> None:
    """Call a judge's optional method ``ready()``; a judge without it is taken to be ready.

    A run calls this once at its start, so that a wrong address is one clear error there and not a
    thousand void games.

    Args:
        judge: A judge.

    Raises:
        RedteamError: If the judge says that it does not work, or its method fails.
    """
    agents.check_ready(judge, named(judge).what)
