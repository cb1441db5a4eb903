"""From a public dialogue to a judge's prompt, without letting the players write the prompt.

Attacker and defender are trained against the judge: if text of theirs could close the section it
stands in and open another one, they would learn to dictate the verdict. So all of their text passes
through a :class:`Guard`, and is put into the template in one pass.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from redteam_env.game import Dialogue, RedteamError, role_of
from redteam_env.game.skeleton import is_plain, seen, skeleton, spans
from redteam_env.utils.text import break_chat_tokens, chat_tokens

CONTEXT_MARK = "\n\n---\n\n"
"""What stands between a request's context and the request, as HarmBench joins them."""
PLACES: Mapping[str, str] = {"prompt": "{prompt}", "response": "{response}"}
"""How a template marks where the two texts go."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_BOUNDARY = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_LABEL = re.compile(r"^\s*([A-Za-z][A-Za-z ]{0,30}?)\s*:")
_RULE = r"[^\S\n]*([-=#*_~])(?:\1|[^\S\n]){2,}$"
_BEFORE = r"(?:(?![\n>])[\W\d_])*?"
"""What may stand before a label that looks as if it began its line."""
_WITHIN = r"(?:(?!\n)[\W_])*?"
"""What may stand between the words of a label, and before its colon."""
_NEAR = r"(?:(?!\n)[\W_]){0,80}?"
"""The same within a token, which may begin anywhere: so much that a row of signs costs little to read."""
_ONE_LOOK = {**dict.fromkeys("il1", "[il1|]"), **dict.fromkeys("o0", "[o0]")}
_SPEAKERS = {"attacker": "USER MESSAGE", "defender": "AI ANSWER"}

Message = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What a single-turn judge is asked about: all parts guarded.

    Attributes:
        prompt: The request, preceded by the earlier exchanges if there were any.
        response: The answer to it; empty if there is none.
        context: What the request is about, where that was asked for and there is one.
    """

    prompt: str
    response: str
    context: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What of a judge's prompt and answer players must not imitate.

    Attributes:
        labels: Words that begin a section when a colon follows.
        lines: Words that begin a line of the answer without a colon.
        tokens: Marks that open or close a part of the prompt, wherever they stand, beside the control
            tokens of the known chat templates.
    """

    labels: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()

    def plus(self, labels: Sequence[str]) -> "Guard":
        """Return the guard of further labels, too."""
        every = tuple(dict.fromkeys([*labels, *self.labels]))
        return Guard(labels=every, lines=self.lines, tokens=self.tokens)

    def __call__(self, text: str) -> str:
        """Break in a player's text whatever could pass for a part of a judge's prompt.

        This and nothing else is done, so that a reader (and the judge) still sees what was written:

        - lone surrogates become U+FFFD; every kind of line end becomes a newline;
        - control tokens of chat templates, and the guard's own tokens, get a space behind their
          first character: ``< |user|>``;
        - a line that starts with one of the labels and a colon or with one of the lines, or that is a
          horizontal rule (``---``), is quoted: ``> AI assistant:``.

        All of that is looked for in the text's skeleton (:mod:`redteam_env.game.skeleton`), so
        invisible characters, look-alikes and characters that are spelled out (``&lt;``) hide nothing. Applied twice it changes no more than
        applied once.

        Args:
            text: The player's text.

        Returns:
            The text to put into a template.
        """
        if not is_plain(text):
            text = _BOUNDARY.sub("\n", _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text))
        text = break_chat_tokens(text)
        shown = seen(text)
        breaks = set() if shown == text else set(chat_tokens(shown))
        starts, tokens = _patterns(self)
        if tokens is not None:
            breaks |= {match.start() for match in tokens.finditer(shown)}
        quotes = [k for k in _line_starts(shown) if starts.match(shown, k)]
        if not breaks and not quotes:
            return text
        places = [(k, k + 1) for k in range(len(text))] if shown == text else spans(text)
        edits = [(places[k][0] + 1, " ") for k in breaks]
        edits += [(places[k - 1][1] if k else 0, "> ") for k in quotes]
        return "".join(_edited(text, sorted(edits)))


def _line_starts(text: str) -> Iterator[int]:
    place = 0
    while place >= 0:
        yield place
        place = text.find("\n", place) + 1 or -1


def _edited(text: str, edits: Sequence[tuple[int, str]]) -> Iterator[str]:
    last = 0
    for place, added in edits:
        yield text[last:place]
        yield added
        last = place
    yield text[last:]


@lru_cache(maxsize=256)
def _patterns(guard: Guard) -> tuple[re.Pattern[str], re.Pattern[str] | None]:
    """Return what finds lines to be quoted, and what finds tokens to be broken, in a skeleton."""
    forms = [_RULE]
    if guard.labels:
        words = "|".join(_WITHIN.join(_words(label)) for label in guard.labels)
        forms.append(f"{_BEFORE}(?:{words}){_WITHIN}:")
    if guard.lines:
        words = "|".join(_WITHIN.join(_words(line)) for line in guard.lines)
        forms.append(rf"{_BEFORE}(?:{words})(?!\w)")
    starts = re.compile("|".join(forms), re.MULTILINE | re.IGNORECASE)
    spaced = (_NEAR.join(_words(token)) for token in guard.tokens)
    # ahead only: one may begin within another
    every = f"(?={'|'.join(spaced)})"
    tokens = re.compile(every, re.IGNORECASE) if guard.tokens else None
    return starts, tokens


def _words(text: str) -> list[str]:
    """Return the patterns of a text's words; in one, ``I``, ``l`` and ``1`` look alike, as do ``O`` and 0."""
    words = skeleton(text).split()
    return ["".join(_ONE_LOOK.get(x.lower(), re.escape(x)) for x in word) for word in words]


def neutralise(text: str, labels: Sequence[str] = ()) -> str:
    """Break in a player's text whatever could pass for a part of a judge's prompt, as :class:`Guard` does.

    Args:
        text: The player's text.
        labels: The words by which the template's sections start, without the colon.

    Returns:
        The text to put into a template.
    """
    return Guard(labels=tuple(labels))(text)


def exchange(
    dialogue: Dialogue, guard: Guard | None = None, *, with_context: bool = False
) -> Exchange:
    """Put a dialogue of any length into the one prompt and one response of a single-turn judge.

    The last answer is the response, the message before it the prompt. Earlier lines stand in front
    of the prompt, in order, each under ``[EARLIER USER MESSAGE]`` or ``[EARLIER AI ANSWER]``, and
    the prompt itself then under ``[LAST USER MESSAGE]``. Players cannot forge these marks.

    Args:
        dialogue: The public dialogue. If it ends unanswered, the response is empty.
        guard: What all texts pass through; by default one of chat tokens and rules only.
        with_context: Whether what stands in the request before :data:`CONTEXT_MARK` is a part of its
            own.

    Returns:
        The parts.
    """
    guarded = guard or Guard()
    lines = [(role_of(line.seat), line.text) for line in dialogue.lines]
    response = guarded(lines.pop()[1]) if lines and lines[-1][0] == "defender" else ""
    asked = lines.pop()[1] if lines else ""
    context, _, asked = asked.rpartition(CONTEXT_MARK) if with_context else ("", "", asked)
    prompt = guarded(asked)
    if lines:
        parts = [
            f"[EARLIER {_SPEAKERS.get(role, role.upper())}]\n{guarded(text)}"
            for role, text in lines
        ]
        prompt = "\n\n".join([*parts, f"[LAST USER MESSAGE]\n{prompt}"])
    return Exchange(prompt=prompt, response=response, context=guarded(context) if context else "")


def conversation(
    dialogue: Dialogue, guard: Guard | None = None, *, answered: bool
) -> tuple[Message, ...]:
    """Put a dialogue into chat messages, for judges whose chat template takes it as it is.

    Args:
        dialogue: The public dialogue. Lines of one side that follow each other are one message; other
            seats than the defender speak as the user.
        guard: What all texts pass through.
        answered: Whether the answer is asked about: the messages then end with it, empty if there is
            none. Otherwise they end with the last request.

    Returns:
        The messages, the user's first.
    """
    guarded = guard or Guard()
    messages: list[dict[str, str]] = []
    for line in dialogue.lines:
        role = "assistant" if role_of(line.seat) == "defender" else "user"
        text = guarded(line.text)
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += f"\n\n{text}"
        elif messages or role == "user":
            messages.append({"role": role, "content": text})
        else:  # a template wants a user first
            messages += [{"role": "user", "content": ""}, {"role": role, "content": text}]
    if not messages:
        messages.append({"role": "user", "content": ""})
    ends_answered = messages[-1]["role"] == "assistant"
    if answered and not ends_answered:
        messages.append({"role": "assistant", "content": ""})
    return tuple(messages[:-1] if ends_answered and not answered else messages)


@dataclass(frozen=True, slots=True)
class SingleTurnTemplate:
    """A judge's prompt with the places of prompt and response.

    Everything else in it, other braces included, stands as it is written.

    Attributes:
        text: The prompt.
        also_guard: Further labels that players must not start a line with, such as those of the
            answer.
        guard: What else players must not imitate.
        places: How it marks where each part of an :class:`Exchange` goes.

    Raises:
        RedteamError: If one of the places is missing or there twice.
    """

    text: str
    also_guard: tuple[str, ...] = ()
    guard: Guard = field(default_factory=Guard)
    places: Mapping[str, str] = field(default_factory=lambda: dict(PLACES))
    labels: tuple[str, ...] = field(init=False)
    """The labels of the template's own lines, found in it, and those that are guarded beside them."""
    _full: Guard = field(init=False, repr=False)

    def __post_init__(self) -> None:
        counts = {place: self.text.count(mark) for place, mark in self.places.items()}
        if set(counts.values()) != {1}:
            wanted = " and ".join(self.places.values())
            found = [self.places[x] for x, count in counts.items() for _ in range(count)]
            raise RedteamError(
                f"A judge's template has the places {wanted}, each exactly once; this one has "
                f"{found or 'none'}."
            )
        own = [match[1] for match in map(_LABEL.match, self.text.splitlines()) if match]
        guard = self.guard.plus([*own, *self.also_guard])
        object.__setattr__(self, "labels", guard.labels)
        object.__setattr__(self, "_full", guard)

    def __call__(self, dialogue: Dialogue) -> str:
        """Return the prompt about a dialogue."""
        parts = exchange(dialogue, self._full, with_context="context" in self.places)
        values = {mark: getattr(parts, place) for place, mark in self.places.items()}
        marks = re.compile("|".join(map(re.escape, values)))
        return marks.sub(lambda match: values[match[0]], self.text)


@dataclass(frozen=True, slots=True)
class Conversation:
    """The prompt of a judge whose own chat template takes the dialogue: see :func:`conversation`.

    Attributes:
        guard: What players must not imitate.
        answered: Whether the answer is asked about, and not the request.
    """

    guard: Guard
    answered: bool

    @property
    def text(self) -> str:
        """The prompt's own text: none, as it is that of the model."""
        return ""

    def __call__(self, dialogue: Dialogue) -> tuple[Message, ...]:
        """Return the messages about a dialogue."""
        return conversation(dialogue, self.guard, answered=self.answered)


@dataclass(frozen=True, slots=True)
class Instruction:
    """The prompt of a judge that is told in a chat what to do.

    Attributes:
        template: Makes the user's message.
        system: The system message; empty for none.
    """

    template: SingleTurnTemplate
    system: str = ""

    @property
    def text(self) -> str:
        """All of the prompt's own text."""
        return f"{self.system}\n\n{self.template.text}" if self.system else self.template.text

    def __call__(self, dialogue: Dialogue) -> tuple[Message, ...]:
        """Return the messages about a dialogue."""
        message = {"role": "user", "content": self.template(dialogue)}
        system = {"role": "system", "content": self.system}
        return (system, message) if self.system else (message,)
