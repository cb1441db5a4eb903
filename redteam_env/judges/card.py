"""A judge's card: everything that tells one judge from another, in a TOML file.

Ours lie in the folder ``cards``, each reachable by the name of its file; anybody's is named by its
path. :func:`redteam_env.judges.made.card_judge` makes a judge of a card. A card names its parser
(:data:`~redteam_env.judges.parsers.PARSERS`) and where its prompt is to be had; it holds no code.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from redteam_env.game import Count, RedteamError, Share, check_fields, unknown_name
from redteam_env.game.checks import check_values
from redteam_env.judges.judge import FIELDS
from redteam_env.judges.parsers import PARSERS
from redteam_env.judges.soft import Soft
from redteam_env.judges.sources import Source
from redteam_env.judges.template import PLACES, Guard
from redteam_env.utils.reading import read_toml

ENDING = ".toml"
FOLDER = Path(__file__).parent / "cards"
SCHEMA = 1

Protocol = Literal["completions", "chat", "classify", "transformers"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guidelines:
    """Principles about which a question is asked, one call for each.

    Attributes:
        source: A list of tables, each with ``name`` and ``description``.
        mark: How the template marks where a principle goes.
        form: How a principle is written, with ``{name}`` and ``{description}``.
    """

    source: Source
    mark: str
    form: str

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionCard:
    """One question of a judge.

    Attributes:
        form: ``text``: the filled template is completed as it is. ``instruction``: it is a chat's user
            message. ``conversation``: the dialogue itself is the chat, and the model's own chat
            template, which the server applies, makes the prompt.
        parser: Its name in :data:`~redteam_env.judges.parsers.PARSERS`.
        about: What is asked about; the harm in an answer about ``prompt`` is the request's.
        prompt_is: What stands at the place of the prompt: the ``message`` that was sent, for a judge that
            labels it, or the ``goal``, for one that reads whether the answer does what was wanted: the
            request of the game's seed, wherever that is known
            (:class:`~redteam_env.judges.judge.GoalJudge`).
        template: The template's text, where it is ours.
        source: Where it is to be had, where it is not. With neither, the user names a file.
        system: Where a chat's system message is to be had, if there is one.
        places: How the template marks where ``prompt``, ``response`` and ``context`` go.
        guidelines: Principles, if the question is asked about each of several.
        soft: Where the answer's tokens hold probabilities.
        body: Further fields of a request.
    """

    form: Literal["text", "instruction", "conversation"]
    parser: str
    about: Literal["both", "prompt", "response"] = "both"
    prompt_is: Literal["message", "goal"] = "message"
    template: str | None = None
    source: Source | None = None
    system: Source | None = None
    places: Mapping[str, str] = field(default_factory=lambda: dict(PLACES))
    guidelines: Guidelines | None = None
    soft: tuple[Soft, ...] = ()
    body: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.parser not in PARSERS:
            raise unknown_name("parser", self.parser, PARSERS)
        for place in self.places:
            if place not in {"prompt", "response", "context"}:
                raise unknown_name("place", place, ("prompt", "response", "context"))
        if self.prompt_is == "goal" and (self.about != "response" or self.form == "conversation"):
            raise RedteamError(
                f"prompt_is is 'goal', but the question is about {self.about!r} in the form "
                f"{self.form!r}; what was wanted can stand in for the message only where the answer alone "
                'is judged and a template has a place for it: about = "response", form = "text" or '
                '"instruction".'
            )

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where its texts are fetched from."""
        guidelines = None if self.guidelines is None else self.guidelines.source
        return tuple(x for x in (self.source, self.system, guidelines) if x is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What is known of a judge.

    Attributes:
        name: The name of its file.
        summary: What it is, in a sentence.
        hub: The model's id on the hub; empty for a judge that any model can be.
        licence: Of the weights.
        gated: Whether the hub hands them out only to who accepted the licence on the model's page.
        alternative: What can be used instead without that.
        validated: What it was validated on, and where that is told.
        protocols: What it can be asked by, the default first.
        questions: What it is asked about each dialogue.
        content: What it is asked to compare a rewrite (the response) with its seed (the prompt), if it
            can; what the parser calls a harmful response is a yes.
        guard: What players must not imitate.
        thresholds: The least probability, or score, at which a field is true.
        max_tokens: Longest answer, in tokens.
        canary: The fields in which it must agree with the test dialogues at the start.
        contextual: The card of ours by which its model is asked about requests with a context
            (:mod:`redteam_env.judges.contextual`); empty if by its own.
        smoke: Whether it is good for smoke runs only.
    """

    name: str
    summary: str
    licence: str
    validated: str
    protocols: tuple[Protocol, ...]
    questions: tuple[QuestionCard, ...]
    hub: str = ""
    content: QuestionCard | None = None
    gated: bool = False
    alternative: str = ""
    guard: Guard = field(default_factory=Guard)
    thresholds: Mapping[str, Share] = field(default_factory=dict)
    max_tokens: Count = 128
    canary: tuple[str, ...] = FIELDS
    contextual: str = ""
    smoke: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        for name in (*self.canary, *self.thresholds):
            if name not in FIELDS:
                raise unknown_name("field of a verdict", name, FIELDS)
        if self.contextual and self.contextual not in card_names():
            raise unknown_name("contextual card", self.contextual, card_names())
        if not self.questions or not self.protocols:
            raise RedteamError(f"The card of {self.name!r} has no question or no protocol.")

    @property
    def page(self) -> str:
        """The page with the model and its licence, as messages name it; empty without a model."""
        return f"huggingface.co/{self.hub}" if self.hub else ""

    @property
    def reaches(self) -> tuple[str, ...]:
        """What a judge of it may fetch or open, as messages name it: its model, and its texts."""
        asked = (*self.questions, *([] if self.content is None else [self.content]))
        model = [f"the model {self.hub!r}"] if self.hub else []
        return (*model, *dict.fromkeys(x.shown for one in asked for x in one.sources))

    @property
    def missing(self) -> str:
        """How to get the model."""
        if not self.hub:
            return "Any instruction-following model will do."
        gate = f"accept its licence on {self.page} first (it is gated), or " if self.gated else ""
        other = f" Instead: {self.alternative}." if self.alternative else ""
        local = (
            "name a local copy by model=DIR"
            if "transformers" in self.protocols
            else "serve a local copy"
        )
        return f"The model is {self.hub} ({self.licence}); {gate}{local}.{other}"


def card_names() -> tuple[str, ...]:
    """Return the names of the cards that come with the library, sorted."""
    return tuple(sorted(file.stem for file in FOLDER.glob(f"*{ENDING}")))


def is_card(table: Mapping[str, Any]) -> bool:
    """Whether what a TOML file holds is meant as a judge's card."""
    return "questions" in table


def read_card(name: str | Path) -> Card:
    """Return a card.

    Args:
        name: One of :func:`card_names`, or the path of a TOML file.

    Raises:
        RedteamError: If there is none, or a value in it is wrong.
    """
    ours = str(name) in card_names()
    file = FOLDER / f"{name}{ENDING}" if ours else Path(name).expanduser()
    if not ours and not str(name).endswith(ENDING):
        raise unknown_name(
            "card of a judge", str(name), card_names(), hint="Yours is named by its path (.toml)."
        )
    table = read_toml(file, remedy="Name a card of a judge.")
    where = f"{file.name}: "
    if table.pop("schema", None) != SCHEMA:
        raise RedteamError(f"{where}it has no line schema = {SCHEMA}, as a card of a judge has.")
    try:
        questions = tuple(_question(x) for x in _tables(table, "questions"))
        guard = _made(Guard, table.pop("guard", {}))
        if "content" in table:
            table["content"] = _question(_table("content", table["content"]))
        return _made(Card, {**table, "name": file.stem, "questions": questions, "guard": guard})
    except RedteamError as error:
        raise RedteamError(f"{where}{error}") from error


def _question(table: dict[str, Any]) -> QuestionCard:
    own = dict(table)
    for name in ("source", "system"):
        if name in own:
            own[name] = _made(Source, own[name])
    if "guidelines" in own:
        of = _table("guidelines", own["guidelines"])
        own["guidelines"] = _made(Guidelines, {**of, "source": _made(Source, of.get("source"))})
    own["soft"] = tuple(_made(Soft, x) for x in _tables(own, "soft"))
    return _made(QuestionCard, own)


def _tables(table: dict[str, Any], name: str) -> list[dict[str, Any]]:
    value = table.pop(name, [])
    if not isinstance(value, list):
        raise RedteamError(f"{name} is {value!r}; give a list of tables.")
    return [_table(name, x) for x in value]


def _table(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RedteamError(f"{name} is {value!r}; give a table.")
    return value


def _made(kind: type[T], table: Any) -> T:
    """Make one of the dataclasses of a card out of its table."""
    values = _table(kind.__name__, table)
    known = {x.name: x for x in dataclasses.fields(kind) if x.init}  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise unknown_name(f"key in the {kind.__name__} of a card:", name, known)
    check_values(kind, values)
    for name, x in known.items():
        if x.default is x.default_factory is dataclasses.MISSING and name not in values:
            raise RedteamError(f"The {kind.__name__} of a card has no {name}; give it.")
    return kind(**{name: tuple(x) if isinstance(x, list) else x for name, x in values.items()})
