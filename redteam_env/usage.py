"""How a command's words become its options, and what its ``--help`` shows.

A command with few options shows all of them. One with many shows those that are used often, and what may be
chosen of them with a line for each choice; with ``--help-all`` it shows all. What plug-ins say of themselves
is read out of their files: no ``--help`` imports them.
"""

import dataclasses
import re
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_type_hints

import tyro
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    UnsupportedTypeAnnotationError,
)

from redteam_env.choices import choices as choices_of
from redteam_env.choices import summary
from redteam_env.game import RedteamError
from redteam_env.utils.argv import HELP_ALL, all_asked, option_of
from redteam_env.utils.docs import attribute_docs
from redteam_env.utils.text import escape_controls

_HELP = frozenset({"-h", "--help"})
_MOST_COLUMNS = 80
_LONGEST = 90
"""Characters of what short help says of an option."""

NONE = ("none", "None")
"""The words for no value, where an option may be given none."""
READING = ConstructorRegistry()
"""How words are read and types are shown, by ``tyro.cli(registry=...)``: an option that may be left out is
shown as what one types, such as ``STR``, and its default as ``none``."""

T = TypeVar("T")


@READING.primitive_rule
def _optional(
    info: PrimitiveTypeInfo,
) -> PrimitiveConstructorSpec[Any] | UnsupportedTypeAnnotationError | None:
    """Return how a type is read that may be ``None``."""
    kinds = get_args(info.type)
    if info.type_origin not in {Union, UnionType} or len(kinds) != 2 or type(None) not in kinds:
        return None
    kind = kinds[kinds[0] is type(None)]
    spec = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(kind, info.markers))
    if isinstance(spec, UnsupportedTypeAnnotationError):
        return spec
    words = () if tyro.conf.DisallowNone in info.markers else NONE
    return PrimitiveConstructorSpec(
        nargs=spec.nargs,
        metavar=spec.metavar,
        instance_from_str=lambda x: None if x[0] in words else spec.instance_from_str(x),
        is_instance=lambda x: x is None or spec.is_instance(x),
        str_from_instance=lambda x: [NONE[0]] if x is None else spec.str_from_instance(x),
        choices=None if spec.choices is None else (*spec.choices, *words),
    )


def read(
    options: type[T],
    argv: Sequence[str],
    *,
    prog: str,
    description: str,
    often: Sequence[str] = (),
    choices: Mapping[str, str] | None = None,
    further: Mapping[str, str] | None = None,
    named: Sequence[str] = (),
    default: T | None = None,
    config: Sequence[Any] = (tyro.conf.FlagCreatePairsOff,),
) -> T:
    """Read a command's words into its options.

    Args:
        options: A dataclass; its docstring explains each option.
        argv: The words.
        prog: The command, for usage lines.
        description: What ``--help`` starts with.
        often: The fields that ``--help`` shows; by default all.
        choices: Options that name plug-ins, with the kind of these, whose lines stand under ``--help``.
        further: Others, whose lines stand under ``--help-all`` alone.
        named: Those of ``further`` whose names stand under ``--help``, too: in one line each, as far as they fit.
        default: Values in the place of the fields' own defaults.
        config: Tyro's markers.

    Returns:
        The options.

    Raises:
        SystemExit: After help (0) or a wrong argument (2), with a text on what is allowed.
    """
    asked = not _HELP.isdisjoint(argv)
    short = asked and bool(often) and not all_asked()
    given: dict[str, Any] = {} if default is None or short else {"default": default}
    kind: Any = _short(options, default, often) if short else options
    try:
        found: T = tyro.cli(
            kind,
            args=["--help"] if short else list(argv),
            prog=prog,
            # tyro joins lines, but for those that begin with a space
            description=textwrap.fill(description, _columns(), subsequent_indent=" "),
            config=tuple(config),
            registry=READING,
            **given,
        )
    except SystemExit as ended:
        if asked and not ended.code:
            for option, plugins in (choices or {}).items():
                print(_listed(option, plugins))  # noqa: T201 - goes on with what tyro printed
            for option, plugins in (further or {}).items():
                if not short:
                    print(_listed(option, plugins))  # noqa: T201
                elif option in named:
                    print(_on_one_line(option, plugins))  # noqa: T201
            if short:
                print(f"All options: {prog} {HELP_ALL}")  # noqa: T201
        raise
    return found


def need(what: str, packages: Mapping[str, str]) -> None:
    """Refuse to begin what would end for want of a package.

    Args:
        what: What is begun, such as ``bench``.
        packages: The modules that it imports, with the extra that installs each.

    Raises:
        RedteamError: If one is not installed; all of them are named.
    """
    missing = [name for name in packages if not _is_installed(name)]
    if missing:
        extras = ",".join(sorted({packages[name] for name in missing}))
        raise RedteamError(
            f"{what} needs {', '.join(missing)}: pip install 'redteam-env[{extras}]'"
        )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ImportError:
        return False


def _short(kind: Any, default: Any, often: Sequence[str]) -> Any:
    """Return a dataclass of a few fields of a command's options, which says less of each."""
    found = dict(_fields(kind, default, often))
    fields = [(name, *found[name]) for name in often if name in found]
    return dataclasses.make_dataclass("Options", fields, kw_only=True)


def _fields(kind: Any, default: Any, often: Sequence[str]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    hints, docs = get_type_hints(kind, include_extras=True), attribute_docs(kind)
    for field in dataclasses.fields(kind):
        value = _value(field) if default is None else getattr(default, field.name)
        if field.name in often:
            hint = hints[field.name]
            text = next((x for x in map(_said, getattr(hint, "__metadata__", ())) if x), None)
            metavar = "NAME" if set(get_args(hint)) == {str, type(None)} else None
            brief = _brief(text or docs.get(field.name, ""))
            told = "" if value is None and "by default" in brief else None
            about = tyro.conf.arg(help=brief, metavar=metavar, help_behavior_hint=told)
            given = (
                {}
                if any(value is x for x in (dataclasses.MISSING, tyro.MISSING))
                else {"default": value}
            )
            yield field.name, (Annotated[hint, about], dataclasses.field(**given))
        elif dataclasses.is_dataclass(value):
            yield from _fields(type(value), value, often)


def _value(field: "dataclasses.Field[Any]") -> Any:
    made = field.default_factory
    return field.default if made is dataclasses.MISSING else made()


def _said(metadata: Any) -> str | None:
    """Return the help in one of tyro's annotations of an option."""
    text = getattr(metadata, "help", None)
    return text if isinstance(text, str) else None


def _brief(text: str) -> str:
    """Return the beginning of a text that can stand by itself."""
    text = re.sub(r"\s*\([^()]*\)", "", text).partition(". ")[0]
    for end in ("; ", ": "):
        if len(text) > _LONGEST:
            text = text.partition(end)[0]
    return textwrap.shorten(text, _LONGEST, placeholder=" ...").removesuffix(".") + "."


def _listed(option: str, kind: str) -> str:
    """Return the plug-ins of a kind, a line each, no wider than the terminal."""
    columns = _columns()
    names = choices_of(kind)
    width = min(max(map(len, names), default=0), 24)
    rows = [f"{option_of(option)}: one of these, or an installed one"]
    for name in names:
        text = f"  {escape_controls(name).ljust(width)}  {summary(kind, name)}"
        rows.append(_fitted(text, columns))
    return "\n".join(rows)


def _on_one_line(option: str, kind: str) -> str:
    """Return the names of a kind, as many as fit."""
    names = [escape_controls(name) for name in choices_of(kind)]
    for shown in range(len(names), 0, -1):
        rest = f", and {len(names) - shown} more" if shown < len(names) else ""
        line = f"{option_of(option)}: {', '.join(names[:shown])}{rest}"
        if len(line) <= _columns():
            return line
    return f"{option_of(option)}: {len(names)} names"


def _columns() -> int:
    return min(shutil.get_terminal_size().columns, _MOST_COLUMNS)


def _fitted(text: str, columns: int) -> str:
    """Return a line that ends with a whole word where it would be too long."""
    if len(text) <= columns:
        return text
    return f"{text[: columns - 3].rpartition(' ')[0]} ..."
