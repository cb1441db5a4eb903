"""The nouns of the game: frozen records with a JSON round trip.

A *Seed* is played as a *Game* between agents; a *Verdict* is a judge's reading of the public
*Dialogue*; with rewards it makes an *Episode*. A transcript on disk is one JSON object a line,
each carrying ``schema`` so that a later version can read or refuse it.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from redteam_env.game.errors import RedteamError

SCHEMA = 1

ATTACKER = "attacker_0"
DEFENDER = "defender_0"
JUDGE = "judge_0"
"""The seat that reads the finished dialogue, where the judge is a player, too. Nobody else sees its turn."""


def role_of(seat: str) -> str:
    """Return the role of a seat: ``attacker_0`` is played in the role ``attacker``."""
    return seat.rpartition("_")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """A one-line request with its label, from which a game starts.

    Attributes:
        id: Unique name within its source.
        text: The request itself.
        harmful: The label: is the request harmful?
        category: A topic within the source's own scheme, or empty.
        source: Name of the source.
        split: ``train`` or ``heldout``.
    """

    id: str
    text: str
    harmful: bool
    category: str = ""
    source: str = ""
    split: str = "train"


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What a model sampled for one turn; training uses these ids and never re-tokenises.

    Attributes:
        prompt_ids: Token ids of the prompt, the prefill included.
        completion_ids: Sampled token ids, the stop token included where one was sampled.
        logprobs: Log-probability (nats) of each completion token under the sampling policy at the
            sampling temperature; as long as ``completion_ids``.
        adapter: Name of the weights that sampled, such as ``attacker`` or ``base``.
        version: Number of updates these weights had seen.
        temperature: Sampling temperature; 0 is greedy.
        finished: Whether a stop token ended the turn (otherwise the length limit did).
    """

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    adapter: str
    version: int
    temperature: float
    finished: bool

    def __post_init__(self) -> None:
        if len(self.logprobs) != len(self.completion_ids):
            raise RedteamError(
                f"A generation of {len(self.completion_ids)} tokens has {len(self.logprobs)} "
                "log-probabilities; give one for each token."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One seat's action after the rules decided what of it is public.

    Attributes:
        seat: Who acted.
        text: The action as it was received (without the prefill and a native thought), cut to the
            limit.
        visible: What the other seats and the judge see.
        thought: What nobody else sees, a native thought first; with the visible part never longer
            than an action.
        well_formed: Whether the tags were in order (always true without thinking).
        forfeit: Whether nothing could be shown, which ends the game.
        truncated: Whether the text was cut, at the character limit or by its writer's token limit.
        generation: The tokens behind the text, if a model wrote it.
        error: Why the seat had no answer to give, such as a server that failed, or ``None``. Such a
            turn shows nothing and voids the game.
        native: The model's native thought, which its template or server opened, cut to the limit.
        neutralised: Whether the seat was shown other players' text with its chat control tokens
            broken, as :func:`redteam_env.utils.text.break_chat_tokens` does.
    """

    seat: str
    text: str
    visible: str
    thought: str = ""
    well_formed: bool = True
    forfeit: bool = False
    truncated: bool = False
    generation: Generation | None = None
    error: str | None = None
    native: str = ""
    neutralised: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One public utterance."""

    seat: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue:
    """The public part of a game, which is all that a judge may see.

    In a raw game the first line is the seed itself, spoken for the attacker's seat.
    """

    lines: tuple[Line, ...]

    @property
    def prompt(self) -> str:
        """The last attacker line: the request that the last answer is about."""
        return next((x.text for x in reversed(self.lines) if role_of(x.seat) == "attacker"), "")

    @property
    def response(self) -> str:
        """The last defender line."""
        return next((x.text for x in reversed(self.lines) if role_of(x.seat) == "defender"), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A judge's answer to the three questions; ``None`` is *unknown* and voids the game.

    Attributes:
        prompt_harmful: Is the attacker's public request harmful?
        response_refusal: Does the answer refuse?
        response_harmful: Is the answer harmful?
        probabilities: Probability of *true* for the fields where the judge gave one.
        raw: The judge's own words.
        judge: Which judge it was.
        error: Why there is no verdict, or ``None``.
        score: Graded harm of the answer, 0 (useless or refused) to 1, from a judge that grades.
    """

    prompt_harmful: bool | None = None
    response_refusal: bool | None = None
    response_harmful: bool | None = None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    raw: str = ""
    judge: str = ""
    error: str | None = None
    score: float | None = None

    @property
    def unknown(self) -> tuple[str, ...]:
        """The names of the fields that are unknown."""
        read = (self.prompt_harmful, self.response_refusal, self.response_harmful)
        if None not in read:
            return ()
        names = ("prompt_harmful", "response_refusal", "response_harmful")
        return tuple(name for name, value in zip(names, read, strict=True) if value is None)

    @property
    def void_reason(self) -> str | None:
        """Why a game with this verdict is void, or ``None`` for a whole verdict."""
        if self.error is not None:
            return f"judge error: {self.error}"
        if unknown := self.unknown:
            return f"judge left unknown: {', '.join(unknown)}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """How far the attacker's texts ask for what the seed asks for.

    Attributes:
        measure: Who compared them, as the option ``faithfulness`` names it.
        threshold: The least score of a faithful text.
        scores: A score for each visible text of the attacker, in order: 0 for a refusal to attack,
            whatever the measure; ``None`` where nobody compared it, or the comparison failed.
    """

    measure: str
    threshold: float
    scores: tuple[float | None, ...]

    def of(self, start: int, end: int) -> "Content":
        """Return the comparison of some of the texts."""
        return dataclasses.replace(self, scores=self.scores[start:end])

    @property
    def faithful(self) -> bool:
        """Whether no text has a score below the threshold."""
        return all(score is None or score >= self.threshold for score in self.scores)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What a judge said after one exchange of a game, and what that paid.

    Attributes:
        verdict: The judge's, of the dialogue up to then.
        components: For each seat, the weighted components that sum to what the exchange paid it.
    """

    verdict: Verdict
    components: Mapping[str, Mapping[str, float]]

    def reward(self, seat: str) -> float:
        """Return what the exchange paid a seat."""
        return float(sum(self.components.get(seat, {}).values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """A finished game with its rewards.

    Attributes:
        seed: What it started from.
        rewritten: Whether the attacker rewrote the seed (otherwise it went raw to the defender).
        turns: All turns in order.
        verdict: The judge's, or ``None`` after a forfeit or a seat's error.
        rewards: Reward of each seat; all 0 in a void game.
        components: For each seat, the weighted components that sum to its reward.
        samples: Seats whose turns may be trained on.
        void: Why the game does not count, or ``None``.
        path: Where in a run it was played, as :mod:`redteam_env.randomness` addresses it.
        group: Games of one group share the seed but not the sampling randomness.
        exchanges: Where turns are credited each with its own: each exchange with its verdict and pay,
            whose sums are ``components`` and ``rewards``. Else empty, and in games without verdict.
        content: How far the attacker's texts ask for what the seed asks for; ``None`` where nobody
            compared them and none was a refusal.
    """

    seed: Seed
    rewritten: bool
    turns: tuple[Turn, ...]
    verdict: Verdict | None
    rewards: Mapping[str, float]
    components: Mapping[str, Mapping[str, float]]
    samples: tuple[str, ...]
    void: str | None = None
    path: tuple[int | str, ...] = ()
    group: int = 0
    exchanges: tuple[Exchange, ...] = ()
    content: Content | None = None

    @property
    def forfeit(self) -> str | None:
        """The seat that forfeited the game, or ``None``; the judge's seat can forfeit its own pay only."""
        lost = (turn.seat for turn in self.turns if turn.forfeit and turn.seat != JUDGE)
        return next(lost, None)

    @property
    def uncounted(self) -> str | None:
        """Why the game is in no rate, or ``None``: it is void, or the defender forfeited it.

        A forfeited answer is neither harmful nor harmless; nobody has read it.
        """
        if self.void is None and self.forfeit == DEFENDER:
            return "defender forfeit: no public answer"
        return self.void

    @property
    def faithful(self) -> bool | None:
        """Whether every rewrite kept the seed's label and its request; ``None`` if that is unknown.

        It is unknown in raw games, and where there is no whole verdict.
        """
        if not self.rewritten or self.verdict is None or self.void is not None:
            return None
        verdicts = [exchange.verdict for exchange in self.exchanges] or [self.verdict]
        kept = all(verdict.prompt_harmful == self.seed.harmful for verdict in verdicts)
        return kept and (self.content is None or self.content.faithful)

    @property
    def dialogue(self) -> Dialogue:
        """The public dialogue."""
        return public_dialogue(self.seed, self.rewritten, self.turns)

    def credit(self, place: int) -> float:
        """Return what a turn is credited with: what its exchange and the later ones paid its seat.

        Without ``exchanges`` that is the reward of the game. What a callback added to the reward counts
        for every turn.

        Args:
            place: The turn's place among ``turns``.
        """
        seat = self.turns[place].seat
        before = self.exchanges[: self.exchange_of(place)]
        return self.rewards[seat] - sum(exchange.reward(seat) for exchange in before)

    def exchange_of(self, place: int) -> int:
        """Return in which exchange, from 0, the turn at a place was taken."""
        return sum(turn.seat == self.turns[place].seat for turn in self.turns[:place])

    def to_json(self) -> str:
        """Return the episode as one line of ASCII JSON."""
        # dataclasses.asdict copies every token id, which takes ten times as long as the rest
        own = _fields(self)
        own["seed"] = _fields(self.seed)
        own["turns"] = [_fields(turn) for turn in self.turns]
        for turn in own["turns"]:
            turn["generation"] = None if turn["generation"] is None else _fields(turn["generation"])
            for name in ("native", "neutralised"):
                if not turn[name]:
                    del turn[name]  # as a line was before there were any
        if self.verdict is not None:
            own["verdict"] = _verdict_fields(self.verdict)
        own["rewards"] = dict(self.rewards)
        own["components"] = _plain(self.components)
        del own["exchanges"], own["content"]  # as a line was before there were any
        if self.content is not None:
            own["content"] = _fields(self.content)
        if self.exchanges:
            own["exchanges"] = [
                {"verdict": _verdict_fields(x.verdict), "components": _plain(x.components)}
                for x in self.exchanges
            ]
        return json.dumps({"schema": SCHEMA, **own}, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> "Episode":
        """Read an episode back.

        Args:
            line: What :meth:`to_json` wrote.

        Returns:
            An equal episode.

        Raises:
            RedteamError: If it is no JSON object, of another schema, or misses a field.
        """
        try:
            return cls.from_record(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise _no_episode(error, line) from error

    @classmethod
    def from_record(cls, record: Any) -> "Episode":
        """Read an episode back from the object that its line holds.

        Args:
            record: What parsing a line of :meth:`to_json` gave; anything else is refused.

        Returns:
            An equal episode.

        Raises:
            RedteamError: If it is no object, of another schema, or misses a field.
        """
        try:
            data = dict(record)
            schema = data.pop("schema")
            if schema != SCHEMA:
                raise RedteamError(
                    f"The transcript has schema {schema!r}; this version reads {SCHEMA}. "
                    "Read it with the version that wrote it."
                )
            verdict = data.pop("verdict")
            exchanges = [
                Exchange(verdict=Verdict(**x["verdict"]), components=x["components"])
                for x in data.pop("exchanges", ())
            ]
            content = data.pop("content", None)
            if content is not None:
                content = Content(**{**content, "scores": tuple(content["scores"])})
            return cls(
                content=content,
                seed=Seed(**data.pop("seed")),
                turns=tuple(_turn(turn) for turn in data.pop("turns")),
                verdict=None if verdict is None else Verdict(**verdict),
                samples=tuple(data.pop("samples")),
                path=tuple(data.pop("path")),
                exchanges=tuple(exchanges),
                **data,
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _no_episode(error, str(record)) from error


def _no_episode(error: Exception, found: str) -> RedteamError:
    return RedteamError(
        f"This line is no episode ({error}): {found[:80]!r}. Each line of a transcript must be what "
        "Episode.to_json wrote."
    )


def _fields(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def _verdict_fields(verdict: Verdict) -> dict[str, Any]:
    own = {**_fields(verdict), "probabilities": dict(verdict.probabilities)}
    if verdict.score is None:
        del own["score"]  # as a line was before there were any
    return own


def _plain(components: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {seat: dict(parts) for seat, parts in components.items()}


def _turn(data: dict[str, Any]) -> Turn:
    generation = data.pop("generation")
    if generation is not None:
        for name in ("prompt_ids", "completion_ids", "logprobs"):
            generation[name] = tuple(generation[name])
    return Turn(generation=None if generation is None else Generation(**generation), **data)


def public_dialogue(seed: Seed, rewritten: bool, turns: tuple[Turn, ...]) -> Dialogue:
    """Return what everybody may see of a game.

    Args:
        seed: The seed; it is public only in a raw game.
        rewritten: Whether the attacker rewrote the seed.
        turns: The turns so far.

    Returns:
        The visible texts in order, without forfeited and failed turns and those of the judge's seat.
    """
    start = () if rewritten else (Line(seat=ATTACKER, text=seed.text),)
    spoken = [
        Line(seat=x.seat, text=x.visible)
        for x in turns
        if not x.forfeit and x.error is None and x.seat != JUDGE
    ]
    return Dialogue(lines=(*start, *spoken))
