"""From directories to a page."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from redteam_env.game import RedteamError
from redteam_env.page.games import Packed, pack
from redteam_env.page.sections import sections
from redteam_env.page.sources import Source, read_sources
from redteam_env.utils.files import write_text
from redteam_env.utils.text import escape_controls

MOST_GAMES = 10_000
GENERATOR = "redteam-env report"
"""What pages and logs say that they were made by; a file that does not is not replaced."""
_HEAD = 65_536
_ASSETS = resources.files("redteam_env.page") / "assets"
_TEMPLATE, _STYLE, _SCRIPT = "page.html.jinja", "page.css", "page.js"


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A page that was written.

    Attributes:
        file: Where it is.
        size: Its bytes.
        games: The games that it holds.
        sources: What it is about.
        texts: What it does with what players wrote: ``absent``, ``folded`` or ``open``.
    """

    file: Path
    size: int
    games: int
    sources: tuple[str, ...]
    texts: str


def make_page(
    places: Sequence[Path], out: Path, *, show_text: bool = False, most_games: int = MOST_GAMES
) -> Made:
    """Write a report of directories as one HTML file.

    Args:
        places: Runs, and what evaluate, crossplay, rejudge, quickstart, bench and experiment wrote.
        out: The file; a report that is there is replaced.
        show_text: Put what players wrote into the file also where seeds are not of an invented world.
        most_games: Most games of the browser, and that are read of a run.

    Returns:
        What was written.

    Raises:
        RedteamError: If jinja2 is missing, a directory cannot be reported on, or the file is there and no
            report, or not to be written.
    """
    template = _template()  # what is missing is told before anything is read
    check_free(out)
    sources = read_sources(places, most=most_games)
    packed = pack(sources, show_text=show_text, most=most_games)
    text = render(template, sources, packed)
    try:
        write_text(out, text)
    except OSError as error:
        raise RedteamError(f"{str(out)!r} cannot be written: {error.strerror}.") from error
    return Made(
        file=out,
        size=len(text.encode()),
        games=packed.games,
        sources=tuple(source.name for source in sources),
        texts=packed.texts,
    )


def check_free(out: Path) -> None:
    """Refuse to write over anything but a report.

    Args:
        out: Where a page is to be written.

    Raises:
        RedteamError: If it is there and no report, or cannot be read.
    """
    if out.is_dir():
        raise RedteamError(f"{str(out)!r} is a directory; name the file to write.")
    if not out.exists():
        return
    try:
        with out.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise RedteamError(f"{str(out)!r} cannot be read: {error.strerror}.") from error
    if head.strip() and GENERATOR.encode() not in head:
        raise RedteamError(
            f"{str(out)!r} is there and is no report; name another file with --out, or remove it."
        )


def render(template: Any, sources: Sequence[Source], packed: Packed) -> str:
    """Return the page."""
    style, script = _asset(_STYLE), _asset(_SCRIPT)
    names = [source.name for source in sources]
    title = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    page: str = template.render(
        title=title,
        generator=GENERATOR,
        sections=sections(sources),
        packed=packed,
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
    )
    return page


def _template() -> Any:
    try:
        import jinja2  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise RedteamError("A report needs jinja2: pip install 'redteam-env[report]'.") from error

    def finalize(value: Any) -> Any:
        return escape_controls(value) if type(value) is str else value

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.from_string(_asset(_TEMPLATE))


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return f"sha256-{digest}"
