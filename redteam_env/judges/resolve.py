"""From what a user names to the judge that is meant.

A specification is the name of a registered judge or of one of our cards, or the path of a card
(``mine.toml``), perhaps with options behind it as in a web address
(``wildguard?url=http://127.0.0.1:8000&concurrency=32``), or with parts behind a colon for a judge that is
made of others: ``cached:wildguard``, ``vote:A+B+C``, ``composite:prompt=A,refusal=B,harm=C``.
"""

import inspect
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from redteam_env import registry
from redteam_env.border.functions import Reading, as_judge
from redteam_env.border.judges import check_judge
from redteam_env.game import RedteamError
from redteam_env.judges.card import ENDING, card_names
from redteam_env.judges.made import card_judge
from redteam_env.protocols import Judge
from redteam_env.registry import make
from redteam_env.utils.lists import queried, value_of

PARTS = "parts"
"""What the factory of a judge that is made of others calls what stands behind the colon."""


def resolve_judge(judge: str | Judge | Reading, *, url: str | None = None, **options: Any) -> Judge:
    """Return a judge.

    Args:
        judge: A specification as this module describes it, such as ``lexical``; or a judge; or a function
            from a :class:`~redteam_env.game.Dialogue` to a :class:`~redteam_env.game.Verdict`; or the class of
            a judge that is made without arguments.
        url: The server, for judges that ask one.
        **options: Further keyword arguments of the named judge's factory.

    Returns:
        The judge.

    Raises:
        RedteamError: If the name is unknown, the judge takes no url or not that option, options
            come with a judge that is made already, or the object is no judge.
    """
    given = options if url is None else {"url": url, **options}
    if isinstance(judge, str):
        name, own = _read(judge)
        factory = _factory(name)
        if url is not None and not takes_url(judge):
            raise RedteamError(
                f"The judge {judge!r} runs in this process and takes no url. Leave the url (--judge-url) "
                "out, or choose a judge that asks a server, such as 'wildguard'."
            )
        return check_judge(make("judges", name, factory, **{**given, **own}), f"judge {judge!r}")
    if given:
        raise RedteamError(
            f"{', '.join(sorted(given))} would be ignored: the judge is an object "
            f"({type(judge).__name__}) that is made already. Give them when you make it."
        )
    made = as_judge(judge)
    return check_judge(made, f"judge {type(made).__name__}")


def resolve_parts(parts: Sequence[str | Judge], *, url: str | None = None) -> tuple[Judge, ...]:
    """Return the judges that another one is made of.

    Args:
        parts: Specifications, or judges.
        url: The server of those that take one.

    Raises:
        RedteamError: As :func:`resolve_judge`, or if there is a url and no part takes one.
    """
    asking = [isinstance(part, str) and takes_url(part) for part in parts]
    if url is not None and not any(asking):
        raise RedteamError("None of the judges takes a url; leave the url (--judge-url) out.")
    return tuple(
        resolve_judge(part, url=url if takes else None)
        for part, takes in zip(parts, asking, strict=True)
    )


def takes_url(spec: str) -> bool:
    """Whether a judge, or one that it is made of, asks a server whose address may be given."""
    return any(map(_asks, judges_in(spec)))


def judges_in(spec: str) -> list[str]:
    """Return the names of the judges in a specification: its own, and those that it is made of."""
    head = spec.partition("?")[0].strip()
    if head in registry.names("judges"):
        return [head]
    words = re.split(r"[+,:=]", re.sub(r"\?[^+,]*", "", spec))
    return [word.strip() for word in words if _is_known(word.strip())]


def _is_known(name: str) -> bool:
    return name in registry.names("judges") or name in card_names() or name.endswith(ENDING)


def _factory(name: str) -> Callable[..., Any]:
    """Return what makes the judge of a name."""
    if name in registry.names("judges"):
        found: Callable[..., Any] = registry.load("judges", name)
        return found
    if _is_known(name):
        return partial(card_judge, name)
    raise registry.unknown_plugin(
        "judges",
        name,
        {*registry.names("judges"), *card_names()},
        hint="A card of yours is named by its path (.toml); a function that a run was given in Python is "
        "given again: judge=FUNCTION.",
        announced=True,
    )


def _asks(name: str) -> bool:
    taken = _parameters(name)
    return PARTS not in taken and (
        "url" in taken or inspect.Parameter.VAR_KEYWORD in taken.values()
    )


def _parameters(name: str) -> dict[str, Any]:
    """Return the kinds of the parameters of a judge's factory, by name."""
    try:
        found = inspect.signature(_factory(name)).parameters
    except ValueError:  # some callables of C tell nothing: any may be there
        return {"": inspect.Parameter.VAR_KEYWORD}
    return {x.name: x.kind for x in found.values()}


def _read(spec: str) -> tuple[str, dict[str, Any]]:
    """Return the name in a specification, and the options that stand in it."""
    name, colon, parts = spec.partition(":")
    if colon and name in registry.names("judges") and PARTS in _parameters(name):
        return name, {PARTS: parts}
    head, options = queried(spec)
    if head in registry.names("judges") and PARTS in _parameters(head):
        raise RedteamError(
            f"The judge {head!r} is made of others; name them behind a colon, as in {head}:NAME."
        )
    return head, {key: value_of(value) for key, value in options.items()}
