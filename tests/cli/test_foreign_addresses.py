"""What a stranger's run names is reached only if the user names it, too."""

import io
import json
import re
import socket
import threading

import pytest
from support_chat import MODEL, ChatServer, said
from support_servers import RecordedJudgeServer

import redteam_env
from redteam_env.cli.main import main
from redteam_env.game import RedteamError
from redteam_env.judges.sources import Source
from redteam_env.runs import POLICY, Run, write_card
from redteam_env.utils.files import write_text

SECRET = "s3cret-k3y"
WORDS = ["--seeds", "words", "--judge", "words", "--games", "4", "--attacker", "echo"]


class Listener:
    """Keeps every byte that arrives at a port of this machine."""

    def __enter__(self):
        self.heard = b""
        self.calls = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._socket.close()

    def _listen(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.calls += 1
            with connection:
                self.heard += connection.recv(65536)


@pytest.fixture
def listener(monkeypatch):
    for name in ("REDTEAM_ENV_AGENT_API_KEY", "REDTEAM_ENV_JUDGE_API_KEY", "HOME_KEY"):
        monkeypatch.setenv(name, SECRET)
    with Listener() as found:
        yield found


def stranger(tmp_path, *, defender=None, **config):
    """A run directory as somebody else could have written it."""
    run = Run(tmp_path / "run")
    write_text(run.path / "config.json", json.dumps({"schema": 1, "config": config}))
    with run.new_checkpoint(1) as folder:
        (folder / POLICY).mkdir()
        if defender is not None:
            others = {"defender": defender}
            write_card(folder / POLICY, agent="sb3", role="attacker", others=others, more={})
    return str(run.path)


def planted(tmp_path, url, variable="REDTEAM_ENV_AGENT_API_KEY"):
    file = tmp_path / "run" / "planted.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(f'url = "{url}"\nmodel = "m"\nkey_variable = "{variable}"\nretries = 0\n')
    return f"endpoint:{file}"


@pytest.mark.parametrize("form", ["inline", "file"])
def test_case_a1_an_endpoint_that_a_run_names_hears_nothing(tmp_path, listener, capsys, form):
    spec = f"endpoint:m@{listener.url}" if form == "inline" else planted(tmp_path, listener.url)
    run = stranger(tmp_path, defender=spec)
    assert main(["evaluate", *WORDS, "--defender", run]) == 2
    assert (listener.calls, listener.heard) == (0, b"")
    said = capsys.readouterr().err
    assert f"add --defender {spec}" in said
    assert SECRET not in said


def test_a_program_is_told_of_it_in_pythons_words(tmp_path, listener):
    spec = f"endpoint:m@{listener.url}"
    run = stranger(tmp_path, defender=spec)
    with pytest.raises(RedteamError, match=re.escape(f"add defender={spec!r}.")):
        redteam_env.evaluate("echo", run, seeds="words", judge="words", games=4)
    run = stranger(tmp_path, judge="wildguard", judge_url=listener.url, seeds="builtin")
    with pytest.raises(RedteamError, match=re.escape(f"add judge_url={listener.url!r}.")):
        redteam_env.evaluate("echo", run, games=4)
    assert (listener.calls, listener.heard) == (0, b"")


@pytest.mark.parametrize("command", ["evaluate", "crossplay", "play"])
def test_case_a1_a_judges_server_that_a_run_names_hears_nothing(
    tmp_path, listener, capsys, command
):
    run = stranger(tmp_path, judge="wildguard", judge_url=listener.url, seeds="builtin")
    players = {
        "evaluate": ["--attacker", "echo", "--defender", run],
        "crossplay": ["--attackers", "echo", "--defenders", run],
        "play": ["--attacker", "echo", "--defender", run],
    }
    assert main([command, "--games", "4", *players[command]]) == 2
    assert (listener.calls, listener.heard) == (0, b"")
    said = capsys.readouterr().err
    assert "REDTEAM_ENV_JUDGE_API_KEY" in said
    assert f"add --judge-url {listener.url}" in said


def test_case_a1_a_key_of_another_program_is_never_sent(tmp_path, listener, capsys):
    spec = planted(tmp_path, listener.url, "HOME_KEY")
    assert main(["evaluate", *WORDS, "--defender", spec]) == 2
    assert (listener.calls, listener.heard) == (0, b"")
    assert "key_variable is 'HOME_KEY'" in capsys.readouterr().err


def test_the_same_endpoint_is_asked_once_the_user_names_it(tmp_path, monkeypatch):
    monkeypatch.setenv("REDTEAM_ENV_AGENT_API_KEY", SECRET)
    with ChatServer(lambda body: said("NO"), key=SECRET) as server:
        run = stranger(tmp_path, defender=server.spec)
        assert main(["evaluate", *WORDS, "--defender", run]) == 2
        assert server.headers == []
        assert main(["evaluate", *WORDS, "--defender", server.spec]) == 0
        assert len(server.requests) == 4


def test_a_judges_server_is_asked_once_the_user_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr(Source, "text", lambda self: "{prompt} {response}")
    with RecordedJudgeServer() as server:
        config = {"judge": "wildguard", "judge_url": server.url, "seeds": "words"}
        run = stranger(tmp_path, defender="no", **config)
        given = ["--attacker", "echo", "--defender", run, "--games", "4"]
        assert main(["evaluate", *given]) == 2
        assert server.requests == []
        assert main(["evaluate", *given, "--judge-url", server.url]) == 0
        assert server.requests


class Terminal(io.StringIO):
    """A person who types an answer."""

    def isatty(self):
        return True


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 2), ("\n", 2), ("", 2)])
def test_a_person_is_asked_and_told_host_and_variable(tmp_path, monkeypatch, answer, code):
    asked = Terminal()
    with ChatServer(lambda body: said("NO")) as server:
        run = stranger(tmp_path, defender=server.spec)
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        monkeypatch.setattr("sys.stderr", asked)
        assert main(["evaluate", *WORDS, "--defender", run]) == code
        assert bool(server.requests) == (code == 0)
    question = asked.getvalue().partition("[y/N]")[0]
    assert MODEL in question
    assert server.url in question
    assert "REDTEAM_ENV_AGENT_API_KEY" in question


def test_a_mixtures_member_outside_its_run_is_refused(tmp_path, capsys):
    run = stranger(tmp_path)
    league = {
        "schema": 1,
        "state": {"defenders": ["../../x"], "meta": {"defender": [1.0]}},
        "versions": {"../../x": {}},
    }
    with Run(tmp_path / "run").new_checkpoint(2) as folder:
        (folder / "league.json").write_text(json.dumps(league))
    assert main(["evaluate", *WORDS, "--defender", f"mixture:{run}"]) == 2
    assert "no name of a folder" in capsys.readouterr().err
