"""Consoles: what a pipe gets, and what an environment variable changes of it."""

from redteam_env.utils.console import WIDE, make_console


def test_a_pipe_gets_plain_text_of_any_width(capsys):
    console = make_console()
    console.print("word " * 40, style="bold red")
    assert capsys.readouterr().out == "word " * 40 + "\n"


def test_colours_that_are_forced_bring_no_terminal_into_a_pipe(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    console = make_console(stderr=True)
    assert not console.is_terminal
    assert console.width == WIDE
    console.print("word " * 40, style="red")
    assert capsys.readouterr().err == f"\x1b[31m{'word ' * 40}\x1b[0m\n"


def test_colours_that_are_forced_move_nothing_in_a_pipe(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with make_console(stderr=True).status("waiting"):
        pass
    assert "\x1b[?25l" not in capsys.readouterr().err
