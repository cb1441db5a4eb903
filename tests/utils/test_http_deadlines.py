"""No server can keep us longer than the time of an attempt, and nobody waits for one after Ctrl-C."""

import asyncio
import contextlib
import gc
import signal
import socket
import subprocess
import sys
import threading
import warnings
from concurrent.futures import CancelledError

import pytest
from support_servers import RecordedJudgeServer

from redteam_env import RedteamError
from redteam_env.utils.aside import run_aside
from redteam_env.utils.http import Endpoint
from redteam_env.utils.threads import Background

PATIENCE_S = 30
HEAD = b"HTTP/1.1 200 OK\r\n"
DRIPS = {
    "headers": (HEAD, b"X-More: 1\r\n"),
    "a chunked body": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "a sized body": (HEAD + b"Content-Length: 1000000\r\n\r\n", b" "),
    "nothing": (b"", b""),
}


class Dripping:
    """A server that begins an answer and then sends a little for ever, until the client hangs up."""

    def __init__(self, begin, drip):
        self.begin, self.drip = begin, drip
        self.over = threading.Event()
        self.hung_up = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self._socket.close()

    def _serve(self):
        with contextlib.suppress(OSError):
            client, _ = self._socket.accept()
            with client, contextlib.suppress(OSError):
                client.sendall(self.begin)
                client.settimeout(0.01)
                while not self.over.is_set():
                    with contextlib.suppress(TimeoutError):
                        if not client.recv(65536):
                            break
                    client.sendall(self.drip)
            self.hung_up.set()


@pytest.mark.parametrize("part", DRIPS)
@pytest.mark.parametrize("way", ["post", "get", "tell"])
def test_an_attempt_ends_when_its_time_is_up_whatever_arrives(part, way):
    with Dripping(*DRIPS[part]) as server:
        endpoint = Endpoint(url=server.url, timeout=0.2, retries=0)
        if way == "post":
            reason = endpoint.post([{}])[0].error
        elif way == "get":
            reason = endpoint.get().error
        else:
            status, reason = endpoint.tell({})
            assert status == 0
        assert reason == "timed_out: no whole answer within 0.2 s"
        assert server.hung_up.wait(PATIENCE_S)


def test_a_server_that_never_ends_its_headers_is_not_ready():
    with Dripping(*DRIPS["headers"]) as server:
        endpoint = Endpoint(url=server.url, timeout=0.2)
        with pytest.raises(RedteamError, match=r"No server answers at .*within 0\.2 s"):
            endpoint.ready()


def test_a_slow_answer_leaves_the_others_alone():
    with RecordedJudgeServer() as quick, Dripping(*DRIPS["headers"]) as slow:
        urls = (f"{quick.url}/v1/completions", slow.url)
        answers = [Endpoint(url=x, timeout=1, retries=0).post([{"prompt": "x"}]) for x in urls]
    assert [x.error is None for (x,) in answers] == [True, False]


def test_callers_with_a_running_loop_are_served():
    async def ask():
        return Endpoint(url=f"{server.url}/v1/completions").post([{"prompt": "x"}])

    with RecordedJudgeServer() as server:
        (answer,) = asyncio.run(ask())
    assert answer.error is None


def test_work_that_is_no_longer_wanted_is_cancelled():
    begun, cancelled = threading.Event(), threading.Event()

    async def work():
        begun.set()
        try:
            await asyncio.sleep(PATIENCE_S)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def fail():
        raise ValueError("made to fail")

    aside = Background("aside")
    aside.submit(run_aside, work())
    assert begun.wait(PATIENCE_S)
    aside.__exit__(OSError, OSError(), None)
    assert cancelled.wait(PATIENCE_S)
    with pytest.raises(CancelledError):
        aside.results()
    with pytest.raises(ValueError, match="made to fail"):
        run_aside(fail())


WAITING = """
import sys
from redteam_env.utils.threads import Background
from redteam_env.utils.http import Endpoint

endpoint = Endpoint(url=sys.argv[1], timeout=600)
if sys.argv[2] == "aside":
    with Background("judge") as aside:
        aside.submit(endpoint.post, [{}])
        aside.results()
else:
    endpoint.post([{}])
"""


@pytest.mark.parametrize("where", ["aside", "here"])
def test_after_ctrl_c_the_interpreter_does_not_wait_for_an_answer(where):
    with RecordedJudgeServer(gate=threading.Event()) as server:
        command = [sys.executable, "-c", WAITING, f"{server.url}/v1/completions", where]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            try:
                asked = threading.Event()
                while not server.requests and process.poll() is None:
                    asked.wait(0.01)
                process.send_signal(signal.SIGINT)
                _, said = process.communicate(timeout=PATIENCE_S)
            finally:
                process.kill()
    assert said.rstrip().endswith("KeyboardInterrupt"), said
    assert process.returncode != 0


def test_a_machine_that_can_make_no_loop_is_told_of_not_waited_for(monkeypatch):
    def none_left():
        raise OSError(24, "too many open files")

    async def work():
        return 1

    monkeypatch.setattr(asyncio.events, "new_event_loop", none_left)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with pytest.raises(OSError, match="too many open files"):
            run_aside(work())
        gc.collect()
    assert not [x for x in said if "never awaited" in str(x.message)]
