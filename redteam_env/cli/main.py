"""``redteam-env COMMAND ...``: finds commands by name and turns errors into exit codes.

Commands are plug-ins of the kind ``commands``: callables that take the remaining arguments and
return an exit code. The first line of a command's docstring is its help. Exit codes: what the
command returned; 2 for a user's error, and for what the machine refuses (:mod:`redteam_env.utils.machine`);
1 for any other error; 130 after Ctrl-C; 143 after SIGTERM, which schedulers send and which is taken for
Ctrl-C; 141 when the reader of the output went away. An error is one line; ``--debug``, before or behind any
command, shows its traceback, too.
"""

import gc
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib import metadata
from typing import TextIO

from rich.text import Text

from redteam_env import registry
from redteam_env.game import RedteamError, unknown_name
from redteam_env.game.values import told
from redteam_env.utils.argv import commanded, help_of
from redteam_env.utils.console import (
    answers_alone,
    fitted_stdout,
    make_console,
    reopen_streams,
    tolerate_any_text,
)
from redteam_env.utils.docs import static_summary
from redteam_env.utils.interrupts import heard
from redteam_env.utils.machine import refusal
from redteam_env.utils.notices import Notice
from redteam_env.utils.tables import broken
from redteam_env.utils.text import escape_controls, safe_text

KIND = "commands"
DEBUG = "--debug"
JSON = "--json"
COMPLETION = "--print-completion"
FAULT, REFUSED, INTERRUPTED, TERMINATED = 1, 2, 130, 143


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments without the program's name; by default those of the process.

    Returns:
        The exit code.

    Raises:
        SystemExit: From a command's own ``--help`` or its argument parser.
    """
    given = sys.argv[1:] if argv is None else list(argv)
    if argv is None:
        gc.freeze()  # what is imported lives until the end; looking for garbage in it takes a sixth of --help
    arguments = [x for x in given if x != DEBUG]
    debug = len(arguments) < len(given)
    # threads that spin while they wait slow a shared machine down many times over
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    reopen_streams()
    tolerate_any_text()
    with (
        heard(signal.SIGTERM, _press_ctrl_c) as terminated,
        _threads_speak_briefly(debug=debug),
        _notices_are_lines(),
    ):
        code = _exit_code(arguments, debug=debug)
    return TERMINATED if terminated and code == INTERRUPTED else code


def _exit_code(arguments: list[str], *, debug: bool) -> int:
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        begun = "\n" * sys.stderr.isatty()  # a terminal shows ^C on the line that it stands in
        sys.stderr.write(f"{begun}interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        # the interpreter flushes stdout once more at exit, which must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001 - the one place that tells the user of it
        text, code = _told(error, arguments[0] if arguments else "this")
        if debug:
            traceback.print_exception(error)
        make_console(stderr=True).print(Text(f"error: {_line(text)}"), soft_wrap=True)
    return code


def _told(error: BaseException, command: str) -> tuple[str, int]:
    """Return what a user is told of an error of a command, and the exit code."""
    if isinstance(error, RedteamError):
        return str(error), REFUSED
    if (refused := refusal(error)) is not None:
        what, remedy = refused
        return f"{what}. {remedy}, then give the same command again.", REFUSED
    if isinstance(error, ModuleNotFoundError) and (cure := _cure(error)):
        return f"{command} {cure}", REFUSED
    return f"{told(error)} ({DEBUG} shows the traceback)", FAULT


def _cure(error: ModuleNotFoundError) -> str | None:
    from redteam_env.utils.extras import cure_of  # only when a package is missing

    return cure_of(error)


def _line(text: str) -> str:
    return " ".join(escape_controls(text).split())


@contextmanager
def _threads_speak_briefly(*, debug: bool) -> Iterator[None]:
    """Show no traceback of a thread's error; what the machine refuses one is met by the command itself."""

    def say(failed: threading.ExceptHookArgs) -> None:
        error = failed.exc_value
        if error is not None and not isinstance(error, SystemExit) and refusal(error) is None:
            sys.stderr.write(
                f"error in a thread: {_line(told(error))} ({DEBUG} shows the traceback)\n"
            )

    before = threading.excepthook
    if not debug:
        threading.excepthook = say
    try:
        yield
    finally:
        threading.excepthook = before


@contextmanager
def _notices_are_lines() -> Iterator[None]:
    """Print what the library warns of as a line on stderr; other warnings are shown as ever."""
    before = warnings.showwarning

    def show(  # noqa: PLR0917 - as the standard library calls it
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, Notice):
            make_console(stderr=True).print(safe_text(f"Warning: {message}"), soft_wrap=True)
        else:
            before(message, category, filename, lineno, file, line)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before


def _press_ctrl_c(_: Sequence[int]) -> None:
    """Press Ctrl-C, so that what a command does at the first and at the second holds for SIGTERM, too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's job in the background
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in {"-h", "--help"}:
        _list_commands()
        return 0
    if arguments[0] in {"-V", "--version"}:
        sys.stdout.write(f"redteam-env {version()}\n")
        return 0
    if arguments[0] == COMPLETION:
        from redteam_env.cli.completion import print_completion  # it asks every command

        print_completion(" ".join(arguments[1:]))
        return 0
    name, *rest = arguments
    if name not in registry.names(KIND):
        hint = "redteam-env --help describes them."
        raise unknown_name("command", name, registry.names(KIND), hint=hint)
    if any(":" in word for word in rest):
        from redteam_env.cli.named_code import name_code  # only where code may be named

        name_code(name, rest)
    command = registry.load(KIND, name)
    with (
        commanded(),
        help_of(rest) as words,
        fitted_stdout() if "--help" in words else nullcontext(),
        answers_alone() if JSON in words else nullcontext(),
    ):
        code = command(words)
    if not isinstance(code, int):
        raise RedteamError(f"The command {name!r} returned {code!r}; a command returns an int.")
    return code


def version() -> str:
    """Return the version of the installed distribution, or ``unknown``."""
    try:
        return metadata.version("redteam-env")
    except metadata.PackageNotFoundError:
        return "unknown"


def _list_commands() -> None:
    """Print every command with the first line of its docstring; a broken one with the reason."""
    console = make_console()
    names = registry.names(KIND)
    width = max(map(len, names), default=0) + 2
    console.print("Usage: redteam-env COMMAND [OPTIONS]")
    console.print("Self-play red teaming of language models as a game.\n")
    for name in names:
        lines = broken(_summary(name), max(1, console.width - width)).split("\n")
        below = Text(f"\n{' ' * width}").join(lines)
        console.print(safe_text(name.ljust(width), "bold").append_text(below))
    console.print("\nredteam-env COMMAND --help explains one, --help-all all of its options.")
    console.print("With --debug, any command shows the traceback of an error.")
    console.print(
        f"{COMPLETION} bash|zsh|fish prints a script that completes commands and options, --version the version."
    )


def _summary(name: str) -> Text:
    text = static_summary(registry.target(KIND, name))
    if text is not None:
        return safe_text(text)
    try:
        registry.load(KIND, name)  # which says why its file cannot be read
    except RedteamError as error:
        return safe_text(f"cannot be loaded: {' '.join(str(error).split())}", "yellow")
    return safe_text("")


if __name__ == "__main__":
    sys.exit(main())
