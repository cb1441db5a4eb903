"""The instruction texts of the seats: named sets beside the code, or a user's directory.

A set is a folder of text files; to add one, add a folder to ``prompts/``. ``default`` tells each seat the
rules in plain words. ``example`` is shorter and shows one example each, for small models. Neither speaks
of scores: a small model copies such sentences into its answers. A directory with files of the same names
takes their place, so that a paper's own prompts can be used.

A text stands in the system message. One that holds ``{request}`` stands in the user turn instead, with
what the seat is asked at that place: the seed for the attacker, the message for the defender.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Self

from redteam_env.game.errors import RedteamError, unknown_name

SEED_SLOT = "{seed}"
REQUEST_SLOT = "{request}"
NAMES = ("attacker_harmful", "attacker_benign", "attacker_request", "defender", "thinking")
"""The texts of every set."""
SYSTEM = ("attacker_system", "defender_system")
"""Texts that a set may have besides."""
JUDGE = "judge"
"""The rules of the judge's seat, which a set may have besides; by default ``judge.txt`` beside the sets."""
DEFAULT = "default"
_RULES = ("attacker_harmful", "attacker_benign", "defender")
"""The texts that may stand in the user turn."""
_KNOWN = (*NAMES, *SYSTEM, JUDGE)
_ROOT = resources.files("redteam_env.game") / "prompts"


class Framed(str):
    """A message of a player within our own text, as a user turn shows it.

    It is its whole text. Whoever must shorten a prompt finds the player's part in ``parts``.

    Attributes:
        parts: Our text and the player's in turn; the first and the last are ours.
    """

    __slots__ = ("parts",)

    parts: tuple[str, ...]

    def __new__(cls, parts: Sequence[str]) -> Self:
        """Join the parts."""
        self = super().__new__(cls, "".join(parts))
        self.parts = tuple(parts)
        return self

    def __getnewargs__(self) -> tuple[tuple[str, ...]]:  # type: ignore[override]
        """Let copies keep the parts."""
        return (self.parts,)


@dataclass(frozen=True, slots=True)
class Prompts:
    """Instruction texts by name.

    Attributes:
        texts: One text for each of ``attacker_harmful``, ``attacker_benign`` (the attacker's rules
            for the two kinds of seed), ``attacker_request`` (carries the seed at ``{seed}``),
            ``defender`` and ``thinking`` (added for a seat that must think; if it is empty, the others
            tell the format themselves). Rules that hold ``{request}``, once or more, stand in the user
            turn; ``attacker_system`` and ``defender_system``, if they are there, are the system message
            before it. If both texts of the attacker hold it, ``attacker_request`` is not needed.
            ``judge`` is for a judge's seat; by default all sets have the same.
    """

    texts: Mapping[str, str]

    def __post_init__(self) -> None:
        for name in self.texts:
            if name not in _KNOWN:
                raise unknown_name("prompt", name, _KNOWN)
        missing = [x for x in _needed(self.texts) if not _given(self.texts, x)]
        if missing:
            raise RedteamError(
                f"The prompts {missing} are missing or empty; needed: {_needed(self.texts)}."
            )
        request = self.texts.get("attacker_request")
        if request is not None and request.count(SEED_SLOT) != 1:
            raise RedteamError(
                f"attacker_request must hold {SEED_SLOT} exactly once, not {request!r}."
            )
        for name in ("attacker_request", "thinking", *SYSTEM, JUDGE):
            if REQUEST_SLOT in self.texts.get(name, ""):
                raise RedteamError(
                    f"{name} holds {REQUEST_SLOT}, which only {', '.join(_RULES)} may hold; take it out."
                )
        self._check_system()

    def _check_system(self) -> None:
        """Refuse a system message that no prompt would hold."""
        for name in SYSTEM:
            own = [x for x in _RULES if x.startswith(name.partition("_")[0])]
            lacking = [x for x in own if REQUEST_SLOT not in self.texts[x]]
            if name in self.texts and lacking:
                raise RedteamError(
                    f"{name} stands before a text in the user turn, but {lacking[0]} has no place "
                    f"{REQUEST_SLOT} and is a system message itself; put the place into it, or leave "
                    f"{name} out."
                )

    @property
    def digest(self) -> str:
        """First 12 hex digits of the SHA-256 of all texts, for run manifests."""
        given = [name for name in (*SYSTEM, JUDGE) if name in self.texts]
        joined = "\0".join(self.texts.get(name, "") for name in (*NAMES, *given))
        return hashlib.sha256(joined.encode()).hexdigest()[:12]

    def rules(self, role: str, *, harmful: bool, must_think: bool) -> str:
        """Return a role's instruction without the seed.

        Args:
            role: ``attacker``, ``defender`` or ``judge``.
            harmful: The seed's label, which chooses the attacker's text.
            must_think: Whether the thinking instruction is added.

        Returns:
            The text of the system message, or of the user turn with its places ``{request}``.
        """
        attacker = "attacker_harmful" if harmful else "attacker_benign"
        name = attacker if role == "attacker" else role
        text = _judge() if name == JUDGE and JUDGE not in self.texts else self.texts[name]
        thinking = self.texts["thinking"] if must_think else ""
        return f"{text}\n{thinking}" if thinking else text

    def request(self, seed_text: str) -> str:
        """Return the attacker's user message: the seed in its slot."""
        return self.texts.get("attacker_request", SEED_SLOT).replace(SEED_SLOT, seed_text)

    def instruction(
        self, role: str, seed_text: str | None, *, harmful: bool, must_think: bool
    ) -> str:
        """Return all that a role is told before the dialogue begins, as one text.

        Args:
            role: The role.
            seed_text: What it is to rewrite, if it is to rewrite a seed.
            harmful: As in :meth:`rules`.
            must_think: The same.
        """
        rules = self.rules(role, harmful=harmful, must_think=must_think)
        if seed_text is not None and REQUEST_SLOT in rules:
            rules = rules.replace(REQUEST_SLOT, seed_text)
        elif seed_text is not None:
            rules = f"{rules}\n\n{self.request(seed_text)}"
        system = self.texts.get(f"{role}_system")
        return f"{system}\n\n{rules}" if system else rules

    def opening(
        self, role: str, said: str | None, *, harmful: bool, must_think: bool
    ) -> list[dict[str, str]]:
        """Return the chat messages that a role's prompt begins with.

        Args:
            role: The role.
            said: The seed for an attacker, the first message of the dialogue for every other role;
                ``None`` before there is one.
            harmful: As in :meth:`rules`.
            must_think: The same.

        Returns:
            The system message, if the set has one for the role, and the first user turn. Text of a
            player is put in as it stands, whatever places it seems to hold.
        """
        rules = self.rules(role, harmful=harmful, must_think=must_think)
        framed = REQUEST_SLOT in rules
        system = self.texts.get(f"{role}_system") if framed else rules
        messages = [{"role": "system", "content": system}] if system else []
        if said is not None:
            user = self.request(said) if role == "attacker" else said
            if framed:
                ours = rules.split(REQUEST_SLOT)
                parts = [x for part in ours[:-1] for x in (part, said)]
                user = Framed([*parts, ours[-1]])
            messages.append({"role": "user", "content": user})
        return messages


def prompt_sets() -> tuple[str, ...]:
    """Return the names of the sets that come with the package."""
    return tuple(sorted(x.name for x in _ROOT.iterdir() if x.is_dir()))


@cache
def _judge() -> str:
    return (_ROOT / f"{JUDGE}.txt").read_text(encoding="utf-8").strip()


@cache
def load_prompts(name: str | None = None) -> Prompts:
    """Read the instruction texts.

    Args:
        name: A named set (:func:`prompt_sets`), or a folder with the files ``attacker_harmful.txt`` and so
            on (:data:`NAMES`); ``None`` for the set ``default``. A folder that is called like a set is
            named with its path, such as ``./default``.

    Returns:
        The texts, stripped of surrounding blank space.

    Raises:
        RedteamError: If there is no such set, or a file is missing, empty, not UTF-8, or has no slot for
            the seed.
    """
    name = DEFAULT if name is None else name
    if name in prompt_sets():
        return Prompts(_texts(_ROOT / name, name))
    if Path(name).name == name and not Path(name).is_dir():
        raise unknown_name(
            "prompts", name, prompt_sets(), hint="Or name a directory of instruction texts."
        )
    return Prompts(_texts(Path(name), name))


def _needed(texts: Mapping[str, str]) -> list[str]:
    """Return the names of the texts that a set with these texts must have."""
    framed = all(REQUEST_SLOT in texts.get(x, "") for x in _RULES[:2])
    return [x for x in NAMES if not (framed and x == "attacker_request")]


def _given(texts: Mapping[str, str], name: str) -> bool:
    return name in texts if name == "thinking" else bool(texts.get(name, "").strip())


def _text(file: Any) -> str:
    if isinstance(file, Path) and file.is_fifo():
        raise OSError("it is a pipe")  # and reading would wait for whoever writes
    return str(file.read_text(encoding="utf-8-sig")).strip()


def _texts(folder: Any, name: str) -> dict[str, str]:
    """Return the texts of a folder; one that is needed and cannot be read is an error."""
    texts: dict[str, str] = {}
    failed: dict[str, Exception] = {}
    for text in _KNOWN:
        try:
            texts[text] = _text(folder / f"{text}.txt")
        except (OSError, UnicodeDecodeError) as error:
            failed[text] = error
    for text, reason in failed.items():
        if text in _needed(texts) or not isinstance(reason, FileNotFoundError):
            raise RedteamError(
                f"Cannot read the prompt {text}.txt in {name!r}: {reason}. The folder "
                f"needs the files {', '.join(f'{x}.txt' for x in NAMES)}."
            ) from reason
    return texts
