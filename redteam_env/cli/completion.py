"""What a shell completes: commands, their subcommands and their options.

What a command takes is read out of the help that it prints, so commands of other distributions are completed,
too. The script that is printed asks nothing later; print it again after an upgrade.
"""

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from redteam_env import registry
from redteam_env.game import RedteamError, unknown_name
from redteam_env.utils.argv import HELP_ALL, help_of

SHELLS = ("bash", "zsh", "fish")
HOW = {
    "bash": "redteam-env --print-completion bash > ~/.local/share/bash-completion/completions/redteam-env",
    "zsh": "redteam-env --print-completion zsh > ~/.zfunc/_redteam-env",
    "fish": "redteam-env --print-completion fish > ~/.config/fish/completions/redteam-env.fish",
}
KIND = "commands"
_OPTION = re.compile(r"^\W{0,3}(?:-\w(?: [\w|.\[\]]+)?, )?(--[a-z][\w.-]*)", re.MULTILINE)
_CHOICES = re.compile(r"^usage: .*\{([\w,-]+)\}\s*$", re.MULTILINE)
_GENERAL = ("--help", "--version", "--print-completion")
_ALWAYS = ("--help", "--help-all", "--debug")
_NAME = re.compile(r"[\w.-]+")


@dataclass(frozen=True, slots=True)
class Words:
    """What may stand behind a command: its options, and subcommands with theirs."""

    options: tuple[str, ...] = ()
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
    text = _help(command)
    options = tuple(dict.fromkeys((*_OPTION.findall(text), *_ALWAYS)))
    choices = _CHOICES.search(text)
    if choices is None or len(command) > 1:
        return Words(options)
    return Words(options, {x: _words([*command, x]) for x in choices[1].split(",")})


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


def _bash(commands: Mapping[str, Words]) -> str:
    """Return a function that looks at the first two words; files are completed where no option is."""
    cases = [f'    "") words="{" ".join((*commands, *_GENERAL))}" ;;']
    for name, found in commands.items():
        for below, own in found.below.items():
            cases.append(f'    "{name} {below}") words="{" ".join(own.options)}" ;;')
        more = " ".join((*found.below, *found.options))
        cases.append(f'    "{name}"*) words="{more}" ;;')
    lines = "\n".join(cases)
    return f"""_redteam_env() {{
  local words="" cur="${{COMP_WORDS[COMP_CWORD]}}" path=""
  local k
  for ((k = 1; k < COMP_CWORD && k < 3; k++)); do
    case "${{COMP_WORDS[k]}}" in -*) break ;; esac
    path="${{path:+$path }}${{COMP_WORDS[k]}}"
  done
  case "$path" in
{lines}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
  if [ "${{#COMPREPLY[@]}}" -eq 0 ]; then COMPREPLY=($(compgen -f -- "$cur")); fi
}}
complete -o filenames -F _redteam_env redteam-env
"""


def _fish(commands: Mapping[str, Words]) -> str:
    lines = [f"complete -c redteam-env -n __fish_use_subcommand -f -a {name}" for name in commands]
    for name, found in commands.items():
        inside = f"__fish_seen_subcommand_from {name}"
        below = " ".join(found.below)
        none = f"{inside}; and not __fish_seen_subcommand_from {below}" if below else inside
        if below:
            lines.append(f"complete -c redteam-env -n '{none}' -f -a '{below}'")
        lines += [f"complete -c redteam-env -n '{none}' -l {x[2:]}" for x in found.options]
        for word, own in found.below.items():
            both = f"{inside}; and __fish_seen_subcommand_from {word}"
            lines += [f"complete -c redteam-env -n '{both}' -l {x[2:]}" for x in own.options]
    return "\n".join(lines) + "\n"


def print_completion(shell: str) -> None:
    """Print the completion script of a shell, and on a terminal where to put it.

    Raises:
        RedteamError: If the shell is unknown.
    """
    text = script(shell)
    sys.stdout.write(text)
    if sys.stdout.isatty():
        sys.stderr.write(f"To install it: {HOW[shell]}\n")
