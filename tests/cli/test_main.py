import errno
import json
import os
import shlex
import subprocess
import sys
import threading
from importlib.metadata import version

import pytest

from redteam_env.cli.main import main
from redteam_env.game import RedteamError
from redteam_env.utils.console import print_json

COMMAND = [sys.executable, "-m", "redteam_env.cli.main"]


@pytest.fixture
def broken_plugin(installed):
    installed("", "[redteam_env.commands]\ncracked = no_such_module_here:run\n")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_commands_with_their_first_docstring_line(arguments, capsys, plugins):
    def command(argv):
        """Does what a test wants.

        More text that the list leaves out.
        """

    plugins("commands", "testing-only", command)
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "testing-only  Does what a test wants.\n" in out
    assert "leaves out" not in out
    for name in ("play", "evaluate", "crossplay", "doctor"):
        assert f"\n{name} " in out


def test_a_broken_command_is_listed_with_its_reason_and_stops_no_other(broken_plugin, capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if line.startswith("cracked"))
    assert "cannot be loaded" in line
    assert "no_such_module_here" in line
    assert "\nplay " in out


def test_asking_for_a_broken_command_is_one_clear_error(broken_plugin, capsys):
    assert main(["cracked"]) == 2
    assert "no_such_module_here" in capsys.readouterr().err


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"redteam-env {version('redteam-env')}\n"


def test_unknown_command_names_the_nearest_one(capsys):
    assert main(["evalute"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Did you mean 'evaluate'?" in captured.err


def test_arguments_and_exit_code_pass_through(plugins):
    seen = []

    def command(argv):
        seen.append(argv)
        return 5

    plugins("commands", "probe", command)
    assert main(["probe", "--a", "b"]) == 5
    assert seen == [["--a", "b"]]


def test_a_command_without_exit_code_is_an_error(plugins, capsys):
    plugins("commands", "probe", lambda argv: None)
    assert main(["probe"]) == 2
    assert "a command returns an int" in capsys.readouterr().err


def raising(error):
    def command(argv):
        raise error

    return command


def test_a_users_error_is_one_safe_line_and_exit_code_2(plugins, capsys):
    plugins("commands", "probe", raising(RedteamError("bad \x1b[31mvalue\nsecond line")))
    assert main(["probe"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: bad \\x1b[31mvalue second line\n"


def test_ctrl_c_is_exit_code_130(plugins, capsys):
    plugins("commands", "probe", raising(KeyboardInterrupt()))
    assert main(["probe"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_any_other_error_is_one_line_with_its_kind_and_exit_code_1(plugins, capsys):
    plugins("commands", "probe", raising(ZeroDivisionError("by \x1b[31mnothing\nat all")))
    assert main(["probe"]) == 1
    assert capsys.readouterr().err == (
        "error: ZeroDivisionError: by \\x1b[31mnothing at all (--debug shows the traceback)\n"
    )
    plugins("commands", "bare", raising(AssertionError()))
    assert main(["bare"]) == 1
    assert capsys.readouterr().err == "error: AssertionError (--debug shows the traceback)\n"


class MuteError(BaseException):
    """As libraries written in Rust raise it, and it fails where it is to say what went wrong."""

    def __str__(self):
        raise ValueError


def test_what_is_no_exception_is_one_line_too(plugins, capsys):
    plugins("commands", "probe", raising(MuteError()))
    assert main(["probe"]) == 1
    assert capsys.readouterr().err == "error: MuteError (--debug shows the traceback)\n"


@pytest.mark.parametrize("arguments", [["--debug", "probe", "--a"], ["probe", "--a", "--debug"]])
@pytest.mark.parametrize(
    ("error", "code"),
    [(ZeroDivisionError("no"), 1), (RedteamError("no"), 2), (OSError(28, "no"), 2)],
)
def test_debug_shows_the_traceback_of_any_command(plugins, capsys, arguments, error, code):
    seen = []

    def command(argv):
        seen.append(argv)
        raise error

    plugins("commands", "probe", command)
    assert main(arguments) == code
    err = capsys.readouterr().err
    assert seen == [["--a"]]
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(
    "number",
    [
        *(errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EMFILE, errno.ENOENT),
        *(errno.ENAMETOOLONG, errno.ELOOP),
    ],
)
def test_what_the_machine_refuses_is_one_line_with_what_helps_and_exit_code_2(
    plugins, capsys, number
):
    refused = OSError(number, os.strerror(number), "/runs/a\x1b")
    plugins("commands", "probe", raising(refused))
    assert main(["probe"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{os.strerror(number)[1:]}: '/runs/a\\x1b'. " in line
    assert line.endswith(", then give the same command again.")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has 1 GiB free."),
    ],
)
def test_memory_that_is_used_up_is_one_line_with_what_helps(plugins, capsys, error):
    plugins("commands", "probe", raising(error))
    assert main(["probe"]) == 2
    assert capsys.readouterr().err == (
        "error: cannot allocate memory. Free memory, or take smaller batches, then give the same "
        "command again.\n"
    )


def test_the_error_of_a_thread_is_one_line_too(plugins, capsys):
    def command(argv):
        thread = threading.Thread(target=raising(ZeroDivisionError("in it")), args=([],))
        thread.start()
        thread.join()
        return 0

    plugins("commands", "probe", command)
    assert main(["probe"]) == 0
    assert capsys.readouterr().err == (
        "error in a thread: ZeroDivisionError: in it (--debug shows the traceback)\n"
    )


def test_listing_commands_imports_no_torch():
    code = (
        "import sys; from redteam_env.cli.main import main; main([]); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers')))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("arguments", [["--version"], ["--help"]])
def test_a_reader_that_went_away_is_no_traceback(arguments):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        result = subprocess.run(
            [*COMMAND, *arguments], stdout=pipe, stderr=subprocess.PIPE, check=False
        )
    assert result.returncode == 141
    assert result.stderr == b""


def test_text_that_the_output_cannot_encode_is_spelled_out():
    result = subprocess.run(
        [*COMMAND, "zur\u00fcck"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert result.returncode == 2
    assert b"zur\\xfcck" in result.stderr


@pytest.mark.parametrize("closed", ["0<&-", ">&-", "2>&-", "0<&- >&- 2>&-"])
def test_a_closed_stream_is_no_error(closed, tmp_path):
    words = ["evaluate", "template", "--defender", "refuse", "--attacker", "template"]
    words += ["--judge", "lexical", "--games", "4", "--out", str(tmp_path / "out")]
    command = f"exec {shlex.join([*COMMAND, *words])} {closed}"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / "report.json").is_file()


def test_nobody_can_type_where_there_is_no_input():
    command = f"exec {shlex.join([*COMMAND, 'play', '--attacker', 'human', '--games', '1'])} 0<&-"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "The input ended before attacker_0 had answered" in result.stderr


def test_what_a_plug_in_prints_is_kept_out_of_json(plugins, capsys):
    def probe(_):
        print("noise of a plug-in")
        print_json({"a": 1})
        return 0

    plugins("commands", "probe", probe)
    assert main(["probe", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {"a": 1}
    assert said.err == "noise of a plug-in\n"
    assert main(["probe"]) == 0
    assert capsys.readouterr().out.startswith("noise of a plug-in\n")
