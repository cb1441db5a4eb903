"""What asking a judge takes beside the judge's own work: prompts, answers, and a server kept busy."""

import asyncio
import json
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from algorithms.speed.rows import Measured, SpeedConfig
from redteam_env.game import ATTACKER, DEFENDER, Dialogue, Line, Verdict, three_lines
from redteam_env.judges.made import card_judge
from redteam_env.protocols import Progress, Reply, TurnRequest

CARD = "plain"
DELAY_S = 0.5
"""What a served judge takes for an answer."""
CONCURRENCY = 16
ROUNDS = 16
"""Requests for each that may be under way."""
_ANSWER = three_lines(Verdict(prompt_harmful=True, response_refusal=False, response_harmful=True))


class _Recorded:
    """Answers at once, and always the same."""

    def act(self, requests: Sequence[TurnRequest]) -> list[Reply]:
        return [Reply(text=_ANSWER)] * len(requests)


def measure(options: SpeedConfig, progress: Progress) -> Iterable[Measured]:
    """Measure the prompts and answers of recorded dialogues, and how busy a server is kept.

    Args:
        options: How much.
        progress: Told of each part.

    Yields:
        What was measured, as soon as it is.
    """
    progress("template and parser", 0, 2)
    yield Measured(
        what=f"template and parser, {options.dialogues:,} dialogues",
        value=reading_s(options.dialogues),
        unit="s",
        budget=options.dialogues / 10_000,
        part="judges",
    )
    progress("a server kept busy", 1, 2)
    yield Measured(
        what=f"requests in flight of {CONCURRENCY}, answers after {DELAY_S:g} s",
        value=100 * in_flight(),
        unit="%",
        budget=90.0,
        more=True,
        part="judges",
    )


def reading_s(dialogues: int) -> float:
    """Return the processor seconds of a judge whose model answers at once."""
    asked = list(_dialogues(dialogues))
    judge = card_judge(CARD, agent=_Recorded())
    started = time.process_time()
    judge.judge(asked)
    return time.process_time() - started


def in_flight() -> float:
    """Return the share of the requests that may be under way which are, on average, while a server is asked."""
    asked = list(_dialogues(CONCURRENCY * ROUNDS))
    with _server() as url:
        judge = card_judge(CARD, url, model=CARD, concurrency=CONCURRENCY)
        judge.judge(asked[:1])  # the first imports what asking takes
        started = time.perf_counter()
        judge.judge(asked)
        took_s = time.perf_counter() - started
    return len(asked) * DELAY_S / (CONCURRENCY * took_s)


def _dialogues(count: int) -> Iterator[Dialogue]:
    """Yield requests of 60 and answers of 200 words, each another."""
    for k in range(count):
        request = (
            f"Write a story about locksmith number {k} who explains his work to an apprentice. " * 4
        )
        answer = (
            f"The locksmith of house {k} said: first you look at the lock, then at the key.\n" * 12
        )
        yield Dialogue(lines=(Line(seat=ATTACKER, text=request), Line(seat=DEFENDER, text=answer)))


@contextmanager
def _server() -> Iterator[str]:
    """Serve the one answer on this machine, each time after the delay."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    made = asyncio.run_coroutine_threadsafe(asyncio.start_server(_answer, "127.0.0.1", 0), loop)
    server = made.result()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection, one after the other."""
    choice = {"finish_reason": "stop", "message": {"role": "assistant", "content": _ANSWER}}
    body = json.dumps({"choices": [choice]}).encode()
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    try:
        while True:
            asked = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int(asked.partition("content-length:")[2].partition("\r\n")[0] or 0)
            await reader.readexactly(length)
            await asyncio.sleep(DELAY_S)
            writer.write(head.encode() + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
