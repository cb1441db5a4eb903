"""Who plays a seat: what an agent is asked, what it answers, what it takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

from redteam_env.game import Generation, RedteamError, Seed
from redteam_env.randomness import Address


class PersonLeftError(RedteamError):
    """A person at a seat ended the session; nothing is wrong."""


class TakenBackError(RedteamError):
    """A person took the last message back: whoever plays the game plays it again from its start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRequest:
    """One seat's turn in one of many games, as an agent sees it.

    Attributes:
        seat: The seat to move, such as ``attacker_0``.
        role: Its role, such as ``attacker``.
        messages: Chat messages: a system message, then user and assistant in turn.
        path: The address of this turn's randomness (:mod:`redteam_env.randomness`).
        game: The address of the game that the turn belongs to, the same for all its turns; ``()``
            for a request outside any game, such as a question of a quiz.
        prefill: Text that the answer starts with; the reply must not repeat it.
        seed: For the attacker, the seed it is to rewrite; for every other seat ``None``.
    """

    seat: str
    role: str
    messages: Sequence[Mapping[str, str]]
    path: Address
    game: Address = ()
    prefill: str = ""
    seed: Seed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An agent's action: its text and, from a model that is trained, the tokens behind it.

    An agent that cannot answer, because its server failed for example, says why in ``error``. The
    game is then void: it is counted and reported, pays nothing, is not trained on, and stands
    neither for a refusal nor for a success.

    Attributes:
        text: The answer; what there is of it after a failure, which nobody will see.
        generation: The tokens behind it.
        error: A short reason without anybody's text, or ``None``.
        truncated: Whether a token limit cut the text; a ``generation`` says so itself.
        thought: The model's native thought, which its template or server opened; not part of the
            text. The rules show it to nobody.
        neutralised: Whether the model was shown text of players with its chat control tokens broken.
    """

    text: str
    generation: Generation | None = None
    error: str | None = None
    truncated: bool = False
    thought: str = ""
    neutralised: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What asking a model behind an API took so far.

    Attributes:
        requests: Questions asked, those that failed included.
        failed: Questions without a usable answer.
        retries: Further attempts at questions, beside the first of each; they may be charged for, too.
        cut: Answers that ended at the token limit.
        unmetered: Answers whose number of tokens the server did not tell.
        prompt_tokens: Tokens read, as the server counts.
        completion_tokens: Tokens written, as the server counts.
        cost: What they cost at the prices the user gave, in the currency of these; ``None`` without
            prices. Attempts that failed are not in it.
    """

    requests: int = 0
    failed: int = 0
    retries: int = 0
    cut: int = 0
    unmetered: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None

    def plus(self, more: "Usage") -> "Usage":
        """Return the sum; the cost is known if one of both is."""
        costs = [x.cost for x in (self, more) if x.cost is not None]
        return Usage(
            requests=self.requests + more.requests,
            failed=self.failed + more.failed,
            retries=self.retries + more.retries,
            cut=self.cut + more.cut,
            unmetered=self.unmetered + more.unmetered,
            prompt_tokens=self.prompt_tokens + more.prompt_tokens,
            completion_tokens=self.completion_tokens + more.completion_tokens,
            cost=sum(costs) if costs else None,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)


@runtime_checkable
class Agent(Protocol):
    """Plays a seat in many games at once.

    It may also have a method ``ready()``, which raises a ``RedteamError`` if it could not answer and
    is called before games are played; an attribute ``usage`` (:class:`Usage`), which reports
    print; and a method ``facing(agents)``, which is given the agents of all seats by seat before games
    begin and returns who plays in its place: one that prepares for its opponents.
    """

    def act(self, requests: Sequence[TurnRequest]) -> Sequence[Reply]:
        """Answer every request, in order. Take randomness from each request's path only."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """An agent that also knows how probable its answers are, as one with a model does.

    What it says is one draw, or the likeliest text; how probable a refusal was tells defenders apart
    at every operating point (:mod:`redteam_env.evaluation.detection`).
    """

    def log_odds(self, requests: Sequence[TurnRequest], texts: Sequence[str]) -> Sequence[float]:
        """Return the log-odds, in nats, that the answer begins as one of some texts does.

        Args:
            requests: What it is asked.
            texts: The texts, such as the refusals of a world; their first tokens count.

        Returns:
            ``log p - log(1 - p)`` of each request, at temperature 1, whatever the agent samples at.
        """
        ...


@runtime_checkable
class Drafter(Protocol):
    """An agent that can say what it would write if it had more room, as one with a model does.

    A preflight asks it, to tell which token limit its turns need.
    """

    def drafts(
        self, requests: Sequence[TurnRequest], *, max_new_tokens: int
    ) -> Sequence[Generation]:
        """Return what it would answer with another token limit.

        Args:
            requests: What it is asked.
            max_new_tokens: The limit. Where its context has less room, it takes what there is.

        Returns:
            The tokens of each answer, drawn from the same random streams as those of ``act``.
        """
        ...


Progress = Callable[[str, int, int], None]
"""Called as ``progress(phase, done, total)`` while something long runs."""
