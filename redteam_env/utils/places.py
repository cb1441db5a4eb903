"""The files and folders that the text of an option names, such as ``a.csv?text=goal,file:b.csv``.

An option's text is one place, or parts with a comma between them: ``PLACE``, ``NAME:PLACE``, each perhaps
with ``?key=value`` behind it. Addresses of servers and names of what is installed are no places.
"""

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import unquote

BARE = (
    "seeds",
    "source",
    "model",
    "bases",
    "prompts",
    "opponent",
    "init_from",
    "anchor",
    "templates",
)
"""Options whose text is a place also without a separator or an ending, such as ``model = mine``."""
_BARE_ENDINGS = ("_file", "_dir", "_path", "_directory", "_folder")
_SCHEMES = ("http", "https")
_SEPARATORS = re.compile(r"[+,=?&]")
_CODE = re.compile(r"(?:^|(?<=[:\s]))([^?:\s][^?:]*\.py)(?=:[A-Za-z_]\w*(?:[?:]|$))")
"""The file of a plug-in that is named by its code, also behind ``attack:`` and the like."""
_MODULE = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(:[A-Za-z_]\w*(?:\?.*)?)")
ATTACK, MIXED = "attack:", "mixed:"
"""What the specification of a standing attack begins with, as an agent and as the opponents of a run."""


def is_bare(option: str) -> bool:
    """Whether an option's text may be a place that looks like a word."""
    return option in BARE or option.endswith(_BARE_ENDINGS)


def names_code(text: str) -> bool:
    """Whether an option's text names a plug-in by the file of its code, such as ``mine.py:Judge``."""
    return any(_CODE.search(part.strip()) for part in text.split(","))


def code_hint(text: str) -> str:
    """Return a sentence on how code is named, for a name that looks like a file of it; else nothing."""
    code = _CODE.search(text)
    file = code[1] if code else text.removesuffix(":")
    if not file.endswith(".py"):
        return ""
    return (
        f"Code is named on the command line, as in {file}:NAME; in Python give the object itself, or "
        "register it with redteam_env.register."
    )


def rooted_code(text: str, *, start: Path) -> str:
    """Return the name of a plug-in by its code with the absolute path of its file; other texts as they are.

    Args:
        text: The name, such as ``mine.py:Judge``, or ``mine:Judge`` of a module that lies at the start.
        start: The directory that relative places are taken from.
    """
    if names_code(text):
        return rooted(text, start=start)
    module = _MODULE.fullmatch(text)
    if module is None:
        return text
    file = start / f"{module[1].replace('.', os.sep)}.py"
    return f"{os.path.normpath(file)}{module[2]}" if file.is_file() else text


def places_in(
    text: str, *, start: Path, names: Collection[str] = (), bare: bool = False
) -> list[Path]:
    """Return every file and folder that an option's text may name, whichever way it is read.

    Args:
        text: The option's text.
        start: The directory that relative places are taken from.
        names: What is no place although a file of that name may lie here.
        bare: Whether a word without a separator or an ending is a place, too, if it is there.
    """
    words = dict.fromkeys([text, *(word for part in text.split(",") for word in _words(part))])
    found = [_place(word, start, bare=bare) for word in words if word not in names]
    return [place for place in found if place is not None]


def places_within(
    text: str, *, start: Path, names: Collection[str] = (), bare: bool = False
) -> list[Path]:
    """Return what :func:`places_in` does, and whatever else in a text looks like a place.

    Wherever it stands: in the parts of a judge that is made of others (``vote:A+mine.toml``), behind any
    ``=``, and written as in a web address (``%2F``). For what must not be overlooked.

    Args:
        text: The option's text.
        start: As in :func:`places_in`.
        names: The same.
        bare: The same.
    """
    found = places_in(text, start=start, names=names, bare=bare)
    words = [word for part in _SEPARATORS.split(unquote(text)) for word in _words(part)]
    more = [_place(word, start, bare=False) for word in dict.fromkeys(words) if word not in names]
    return [*found, *(place for place in more if place is not None)]


def rooted(text: str, *, start: Path, names: Collection[str] = (), bare: bool = False) -> str:
    """Return an option's text with the places in it as absolute paths.

    Args:
        text: The option's text.
        start: As in :func:`places_in`.
        names: The same.
        bare: The same.
    """
    if "," in text and not (start / text).exists():
        parts = (rooted(part, start=start, names=names, bare=bare) for part in text.split(","))
        return ",".join(parts)
    if _CODE.search(text):
        return _CODE.sub(lambda x: os.path.normpath(start / Path(x[1]).expanduser()), text)
    for word in _words(text):
        place = None if word in names else _place(word, start, bare=bare)
        if place is not None:
            by_itself = rf"(?:(?<=[:=])|(?<!\S)){re.escape(word)}(?=\s*(?:[?&]|$))"
            before, behind = re.split(by_itself, text, maxsplit=1)
            return f"{before}{os.path.normpath(place)}{_rooted_options(behind, start)}"
    return text


def _rooted_options(text: str, start: Path) -> str:
    """Return the options behind a place, those that name a file too as absolute paths."""
    pairs = [pair.partition("=") for pair in text.split("&")]
    if len(pairs) == 1 and not pairs[0][1]:
        return text
    return "&".join(
        f"{name}{equals}{_rooted_value(name, value, start)}" for name, equals, value in pairs
    )


def _rooted_value(name: str, value: str, start: Path) -> str:
    place = _place(value, start, bare=False) if _names_file(name.lstrip("?")) else None
    return value if place is None else os.path.normpath(place)


def _names_file(option: str) -> bool:
    return option in {"model", "file", "target"} or option.endswith(_BARE_ENDINGS)


def parts_of(text: str) -> list[str]:
    """Return the parts of an option's text, those of each standing attack among them.

    Whoever writes for an attack is a part, and so is its target: ``attack:pair:endpoint:m.toml?target=base``
    has the parts ``endpoint:m.toml`` and ``base``, too.
    """
    found = []
    for part in text.removeprefix(MIXED).split(","):
        found.append(part.strip())
        if text.startswith(MIXED) or found[-1].startswith(ATTACK):
            method, _, options = found[-1].removeprefix(ATTACK).partition("?")
            found.append(method.partition(":")[2])
            found += [pair.partition("=")[2] for pair in options.split("&")]
    return [part for part in found if part]


def is_name(text: str) -> bool:
    """Whether a text is the name of a file or folder that lies right where it is looked for."""
    return text not in {"", ".."} and Path(text).name == text and "\\" not in text


def leaves(place: Path, folder: Path) -> bool:
    """Whether a place lies outside a folder, once ``..`` and links on the way are followed."""
    try:
        return not place.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # links in a circle
        return True


def links_out(folder: Path) -> Iterator[Path]:
    """Yield the links in a folder that lead out of it.

    A snapshot in the cache of the Hugging Face hub is links to the blobs beside it, which belong to it.
    """
    home = folder.resolve()
    if home.parent.name == "snapshots" and (home.parent.parent / "blobs").is_dir():
        home = home.parent.parent
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            if path.is_symlink() and leaves(path, home):
                yield path


def _words(part: str) -> Iterator[str]:
    """Yield what may be a place in a part of an option's text: all of it, or without name and options."""
    part = part.strip()
    for prefix in (ATTACK, MIXED):
        if part.startswith(prefix):
            attack = part.removeprefix(prefix)
            yield from _words(attack)
            yield from _words(attack.partition(":")[2])
            return
    yield part
    head = part.partition("?")[0].strip()
    yield head
    name, _, argument = head.partition(":")
    if name not in _SCHEMES:
        yield argument
    for pair in part.partition("?")[2].split("&"):
        option, _, value = pair.partition("=")
        if _names_file(option):
            yield value


def _place(word: str, start: Path, *, bare: bool) -> Path | None:
    """Return what a word names if that is a place: one by its form, or one that is there."""
    if not word or "\0" in word:
        return None
    try:
        path = Path(word).expanduser()
    except RuntimeError:  # the home of somebody unknown
        path = Path(word)
    if path.is_absolute() or path.drive or word.startswith("~") or ".." in path.parts:
        return start / path
    if not (bare or path.suffix or len(path.parts) > 1 or "\\" in word):
        return None
    try:
        there = (start / path).exists() or path.exists()
    except (OSError, ValueError):  # such as a name that is too long
        return None
    return start / path if there else None
