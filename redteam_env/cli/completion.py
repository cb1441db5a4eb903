"""What a shell completes: commands, their subcommands, their options, and what these may be.

What a command takes is read out of the help that it prints, so commands of other distributions are completed,
too. The names of plug-ins come from the registry, which imports none of them. The script that is printed asks
nothing later; print it again after an upgrade.
"""

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from types import MappingProxyType

from redteam_env import registry
from redteam_env.choices import KINDS_OF_OPTIONS, choices
from redteam_env.game import RedteamError, unknown_name
from redteam_env.protocols import BASE
from redteam_env.utils.argv import HELP_ALL, help_of

SHELLS = ("bash", "zsh", "fish")
HOW = {
    "bash": "redteam-env --print-completion bash > ~/.local/share/bash-completion/completions/redteam-env",
    "zsh": "redteam-env --print-completion zsh > ~/.zfunc/_redteam-env",
    "fish": "redteam-env --print-completion fish > ~/.config/fish/completions/redteam-env.fish",
}
KIND = "commands"
_OPTION = re.compile(
    r"^\s{0,3}(?:-\w(?: \S+)?, )?(?P<name>--[a-z][\w.-]*)"
    r"(?: (?P<value>(?:\{[^}]*\}|[^\s{])(?:\{[^}]*\}|[^\s{]| (?! ))*))?(?=\s{2}|\s*$)",
    re.MULTILINE,
)
"""An option at the beginning of a line, and behind one space what stands for its value."""
_CHOICES = re.compile(r"^usage: .*\{([\w,-]+)\}\s*$", re.MULTILINE)
_POSITIONAL = re.compile(r"positional arguments[^\n]*\n(?:[ ─-]+\n)?\s{0,3}(\S+)")
_BOXES = re.compile(r"^\W*(?:positional arguments|options)\b", re.MULTILINE)
_NUMBERS = frozenset({"INT", "FLOAT", "SHARE", "URL"})
_GENERAL = ("--help", "--version", "--print-completion", "--debug")
_ALWAYS = ("--help", "--help-all", "--debug")
_NAME = re.compile(r"[\w.-]+")
_KINDS_OF_PLACES: Mapping[str, str] = MappingProxyType(
    {
        "JUDGE": "judges",
        "SOURCE": "seeds",
        "AGENT": "agents",
        "models get": "models",
        "recipes show": "recipes",
    }
)
"""Words without an option that name something, by what stands for them in help, or by their command."""


class Sort(StrEnum):
    """What may stand behind an option, or without one."""

    NOTHING = "nothing"
    """It is a flag, so that the next word is a new one."""
    CLOSED = "closed"
    """One of the names."""
    OPEN = "open"
    """One of the names, or a file."""
    OTHER = "other"
    """A number or the like, of which nothing is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """What may stand in one place.

    Attributes:
        sort: Which words are possible.
        names: The names that are known.
    """

    sort: Sort
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What may stand behind a command.

    Attributes:
        options: Its options, with their values.
        place: The words without an option; ``None`` if it takes none.
        below: Its subcommands.
    """

    options: Mapping[str, Value] = field(default_factory=dict)
    place: Value | None = None
    below: Mapping[str, "Words"] = field(default_factory=dict)


def script(shell: str) -> str:
    """Return the completion script of a shell.

    Args:
        shell: One of :data:`SHELLS`.

    Raises:
        RedteamError: If the shell is unknown.
    """
    if shell not in SHELLS:
        raise unknown_name("shell", shell, SHELLS, hint="--print-completion bash|zsh|fish")
    names = [name for name in registry.names(KIND) if _NAME.fullmatch(name)]
    commands = {name: _words([name]) for name in names}
    if shell == "fish":
        return _fish(commands)
    head = (
        "#compdef redteam-env\nautoload -U +X bashcompinit && bashcompinit\n"
        if shell == "zsh"
        else ""
    )
    return f"{head}{_bash(commands)}"


def _words(command: Sequence[str]) -> Words:
    """Return what a command says that it takes; nothing if it cannot be loaded or says nothing."""
    text = re.sub(r"^│(.*?)│?[ \t]*$", r"\1", _help(command), flags=re.MULTILINE)
    found = {
        match["name"]: _value(match["name"], match["value"]) for match in _OPTION.finditer(text)
    }
    options = {**found, **{x: Value(sort=Sort.NOTHING) for x in _ALWAYS}}
    place = _POSITIONAL.search(text)
    below = [] if len(command) > 1 else _subcommands(text, command[0])
    return Words(
        options=options,
        place=_place(" ".join(command), place[1]) if place else None,
        below={x: _words([*command, x]) for x in below},
    )


def _subcommands(text: str, command: str) -> list[str]:
    """Return the subcommands that help lists, or names in its first lines as ``redteam-env COMMAND SUBCOMMAND``."""
    if (choices := _CHOICES.search(text)) is not None:
        return choices[1].split(",")
    told = " ".join(_BOXES.split(text)[0].split())
    return list(dict.fromkeys(re.findall(rf"redteam-env {re.escape(command)} ([a-z]+)\b", told)))


def _value(option: str, shown: str | None) -> Value:
    """Return what may stand behind an option, from what help shows for it."""
    if shown is None:
        return Value(sort=Sort.NOTHING)
    parts = re.sub(r"\s", "", shown)
    if parts.strip("[].") in _NUMBERS:
        return Value(sort=Sort.OTHER)
    name = option[2:].replace("-", "_")
    if names := _known({"model": "models"}.get(name) or KINDS_OF_OPTIONS.get(name, name)):
        return Value(sort=Sort.OPEN, names=names)
    choices = [x for part in re.findall(r"\{([^}]*)\}", parts) for x in part.split(",")]
    if names := tuple(x for x in choices if _NAME.fullmatch(x)):
        return Value(sort=Sort.CLOSED, names=names)
    return Value(sort=Sort.OPEN)


def _place(command: str, shown: str) -> Value:
    """Return what may stand without an option, from what help shows for it."""
    if "|" in shown:
        return Value(sort=Sort.OPEN, names=tuple(filter(_NAME.fullmatch, shown.split("|"))))
    kind = _KINDS_OF_PLACES.get(command) or _KINDS_OF_PLACES.get(shown.strip("[]."), "")
    return Value(sort=Sort.OPEN, names=_known(kind))


@cache
def _known(kind: str) -> tuple[str, ...]:
    """Return the names of all of a kind that a shell takes as they are."""
    more = (BASE,) if kind == "agents" else ()
    return tuple(filter(_NAME.fullmatch, (*choices(kind), *more)))


def _help(command: Sequence[str]) -> str:
    output = io.StringIO()
    with (
        _wide(),
        help_of([*command[1:], HELP_ALL]) as words,
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.suppress(RedteamError, SystemExit, ImportError),  # what it printed before counts
    ):
        registry.load(KIND, command[0])(words)
    return output.getvalue()


@contextlib.contextmanager
def _wide() -> Iterator[None]:
    """Have help printed without a line broken."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "129"  # tyro puts boxes beside each other where there is more room
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


_BASH = """_redteam_env() {
  local cur="${COMP_WORDS[COMP_CWORD]}" prev="" path="" options="" names="" sort="" front="" k
  if [ "$COMP_CWORD" -gt 0 ]; then prev="${COMP_WORDS[COMP_CWORD-1]}"; fi
  # --option=value is one word in zsh, and three words in bash
  case "$cur" in
    =) cur="" ;;
    --*=*) prev="${cur%%=*}"; front="$prev="; cur="${cur#*=}" ;;
    *) if [ "$prev" = "=" ]; then prev="${COMP_WORDS[COMP_CWORD-2]}"; fi ;;
  esac
  for ((k = 1; k < COMP_CWORD; k++)); do
    case "${COMP_WORDS[k]}" in
      --debug) continue ;;
      -*) break ;;
    esac
    case "$path" in *" "*) break ;; esac
    path="${path:+$path }${COMP_WORDS[k]}"
  done
  case "$path" in
@CASES@
  esac
  if [ -z "$sort" ]; then
    case "$cur" in -*) names="$options"; sort="closed" ;; esac
  fi
  # of a list with commas the last member is completed
  case "$cur" in *,*) front="$front${cur%,*},"; cur="${cur##*,}" ;; esac
  COMPREPLY=()
  if [ -n "$names" ]; then COMPREPLY=($(compgen -P "$front" -W "$names" -- "$cur")); fi
  if [ "${#COMPREPLY[@]}" -eq 0 ] && [ "$sort" != "closed" ] && [ "$sort" != "other" ]; then
    local IFS=$'\\n'
    COMPREPLY=($(compgen -P "$front" -f -- "$cur"))
  fi
}
complete -o filenames -F _redteam_env redteam-env
"""


def _bash(commands: Mapping[str, Words]) -> str:
    """Return a function that looks at the first two words, and at the one before that which is completed."""
    options = dict.fromkeys(_GENERAL, Value(sort=Sort.NOTHING)) | {
        "--print-completion": Value(sort=Sort.CLOSED, names=SHELLS)
    }
    top = Words(options=options, below=commands)
    cases = [_case('""', top)]
    for name, found in commands.items():
        cases += [_case(f'"{name} {below}"', own) for below, own in found.below.items()]
        cases.append(_case(f'"{name}"|"{name} "*', found))
    return _BASH.replace("@CASES@", "\n".join(cases))


def _case(pattern: str, words: Words) -> str:
    """Return what is set where the words before match a pattern."""
    names = (*words.below, *(words.place.names if words.place else ()))
    if not names and words.place is None:
        names = tuple(words.options)
    lines = [f"    {pattern})", f'      options="{" ".join(words.options)}"']
    lines.append(f'      names="{" ".join(names)}"')
    by_value: dict[Value, list[str]] = {}
    for option, value in words.options.items():
        if value.sort is not Sort.NOTHING:
            by_value.setdefault(value, []).append(option)
    if by_value:
        lines.append('      case "$prev" in')
        for value, own in by_value.items():
            known = " ".join(value.names)
            lines.append(f'        {"|".join(own)}) names="{known}"; sort="{value.sort}" ;;')
        lines.append("      esac")
    return "\n".join([*lines, "      ;;"])


def _fish(commands: Mapping[str, Words]) -> str:
    first = "__fish_use_subcommand"
    lines = [f"complete -c redteam-env -n {first} -f -a {name}" for name in commands]
    lines += [f"complete -c redteam-env -n {first} -l {x[2:]}" for x in _GENERAL]
    for name, found in commands.items():
        inside = f"__fish_seen_subcommand_from {name}"
        below = " ".join(found.below)
        none = f"{inside}; and not __fish_seen_subcommand_from {below}" if below else inside
        if below:
            lines.append(f"complete -c redteam-env -n '{none}' -f -a '{below}'")
        lines += _fish_words(none, found)
        for word, own in found.below.items():
            lines += _fish_words(f"{inside}; and __fish_seen_subcommand_from {word}", own)
    return "\n".join(lines) + "\n"


def _fish_words(where: str, words: Words) -> Iterator[str]:
    head = f"complete -c redteam-env -n '{where}'"
    if words.place is not None and words.place.names:
        yield f"{head} -a '{' '.join(words.place.names)}'"
    for option, value in words.options.items():
        names = f" -a '{' '.join(value.names)}'" if value.names else ""
        taken = {Sort.NOTHING: "", Sort.CLOSED: " -x", Sort.OPEN: " -r -F", Sort.OTHER: " -x"}
        yield f"{head} -l {option[2:]}{taken[value.sort]}{names}"


def print_completion(shell: str) -> None:
    """Print the completion script of a shell, and on a terminal where to put it.

    Raises:
        RedteamError: If the shell is unknown.
    """
    text = script(shell)
    sys.stdout.write(text)
    if sys.stdout.isatty():
        sys.stderr.write(f"To install it: {HOW[shell]}\n")
