"""From a public dialogue to a judge's prompt, without letting the players write the prompt.

Attacker and defender are trained against the judge: if text of theirs could close the section it
stands in and open another one, they would learn to dictate the verdict. So all of their text passes
through :func:`neutralise`, and is put into the template in one pass.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from redteam_env.game import Dialogue, RedteamError, role_of
from redteam_env.utils.text import break_chat_tokens

_PLACEHOLDER = re.compile(r"\{(prompt|response)\}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_BOUNDARY = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_RULE = re.compile(r"^(?=[^\S\n]*([-=#*_~])(?:\1|[^\S\n]){2,}$)", re.MULTILINE)
_LABEL = re.compile(r"^\s*([A-Za-z][A-Za-z ]{0,30}?)\s*:")
_SPEAKERS = {"attacker": "USER MESSAGE", "defender": "AI ANSWER"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What a single-turn judge is asked about: both parts neutralised.

    Attributes:
        prompt: The request, preceded by the earlier exchanges if there were any.
        response: The answer to it; empty if there is none.
    """

    prompt: str
    response: str


def neutralise(text: str, labels: Sequence[str] = ()) -> str:
    """Break in a player's text whatever could pass for a part of a judge's prompt.

    This and nothing else is done, so that a reader (and the judge) still sees what was written:

    - lone surrogates become U+FFFD; every kind of line end becomes a newline;
    - control tokens of chat templates are broken (:func:`~redteam_env.utils.text.break_chat_tokens`);
    - a line that starts with one of the labels and a colon, or that is a horizontal rule
      (``---``), is quoted: ``> AI assistant:``.

    Applied twice it changes no more than applied once.

    Args:
        text: The player's text.
        labels: The words by which the template's sections start, without the colon.

    Returns:
        The text to put into a template.
    """
    text = _BOUNDARY.sub("\n", _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text))
    text = _RULE.sub("> ", break_chat_tokens(text))
    if not labels:
        return text
    words = "|".join(r"[^\S\n]+".join(map(re.escape, label.split())) for label in labels)
    start = rf"^(?=(?:[^\S\n]|[*_#])*(?:{words})(?:[^\S\n]|[*_])*[:\uff1a])"
    return re.sub(start, "> ", text, flags=re.MULTILINE | re.IGNORECASE)


def exchange(dialogue: Dialogue, labels: Sequence[str] = ()) -> Exchange:
    """Put a dialogue of any length into the one prompt and one response of a single-turn judge.

    The last answer is the response, the message before it the prompt. Earlier lines stand in front
    of the prompt, in order, each under ``[EARLIER USER MESSAGE]`` or ``[EARLIER AI ANSWER]``, and
    the prompt itself then under ``[LAST USER MESSAGE]``. Players cannot forge these marks.

    Args:
        dialogue: The public dialogue. If it ends unanswered, the response is empty.
        labels: See :func:`neutralise`.

    Returns:
        Both parts.
    """
    lines = [(role_of(line.seat), neutralise(line.text, labels)) for line in dialogue.lines]
    response = lines.pop()[1] if lines and lines[-1][0] == "defender" else ""
    prompt = lines.pop()[1] if lines else ""
    if not lines:
        return Exchange(prompt=prompt, response=response)
    parts = [f"[EARLIER {_SPEAKERS.get(role, role.upper())}]\n{text}" for role, text in lines]
    return Exchange(
        prompt="\n\n".join([*parts, f"[LAST USER MESSAGE]\n{prompt}"]), response=response
    )


@dataclass(frozen=True, slots=True)
class SingleTurnTemplate:
    """A judge's prompt with the two places ``{prompt}`` and ``{response}``.

    Everything else in it, other braces included, stands as it is written.

    Attributes:
        text: The prompt.
        also_guard: Further labels that players must not start a line with, such as those of the
            answer.

    Raises:
        RedteamError: If one of the two places is missing or there twice.
    """

    text: str
    also_guard: tuple[str, ...] = ()
    labels: tuple[str, ...] = field(init=False)
    """The labels of the template's own lines, found in it, and those of ``also_guard``."""

    def __post_init__(self) -> None:
        places = sorted(_PLACEHOLDER.findall(self.text))
        if places != ["prompt", "response"]:
            raise RedteamError(
                "A judge's template has the places {prompt} and {response}, each exactly once; "
                f"this one has {places or 'none'}."
            )
        own = [match[1] for match in map(_LABEL.match, self.text.splitlines()) if match]
        object.__setattr__(self, "labels", tuple(dict.fromkeys([*own, *self.also_guard])))

    def __call__(self, dialogue: Dialogue) -> str:
        """Return the prompt about a dialogue."""
        parts = exchange(dialogue, self.labels)
        values = {"prompt": parts.prompt, "response": parts.response}
        return _PLACEHOLDER.sub(lambda match: values[match[1]], self.text)
