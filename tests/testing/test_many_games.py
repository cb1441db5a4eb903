"""A thousand games through judges that fail in every way, and so many games that a leak would show."""

import gc
import hashlib
import multiprocessing
import threading
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from itertools import cycle
from pathlib import Path

import psutil
import pytest

import redteam_env
from redteam_env import RedteamError, Verdict
from redteam_env.evaluation.rates import measure
from redteam_env.game import ATTACKER, DEFENDER
from redteam_env.judges.wildguard import wildguard
from redteam_env.rollout import play, schedule
from redteam_env.testing import faults
from redteam_env.utils.answers import PASSING, Cause
from redteam_env.worlds.apothecary import ApothecaryJudge, make_world, seeds
from redteam_env.worlds.apothecary.scripted import OracleDefender, ScriptedAttacker

WORLD = make_world()
SOURCE = seeds()
TOGETHER = 5
REFUSED = {
    "raises",
    "times_out",
    "none",
    "too_few",
    "too_many",
    "generator",
    "dicts",
    "only_one",
    "texts",
    "not_finite",
}
"""Ways to fail that are a fault of the judge's code: the command stops with one line, and goes on from there."""
VOID = {
    "error": "judge error: made to fail",
    "unknown": "judge left unknown: prompt_harmful, response_refusal, response_harmful",
}
"""Ways to fail that a judge itself tells of, and what a game is void for then."""
RAW_UNKNOWN = "judge left unknown: response_refusal, response_harmful"
"""The same of a raw game, whose request has its seed's label."""
SERVED = {
    "status_400": Cause.REFUSED,
    "status_401": Cause.KEY,
    "status_429": Cause.RATE_LIMIT,
    "status_500": Cause.SERVER_ERROR,
    "status_503": Cause.SERVER_ERROR,
    "error_in_200": Cause.SERVER_ERROR,
    "no_json": Cause.UNREADABLE,
    "no_choices": Cause.UNREADABLE,
    "empty": Cause.UNREADABLE,
    "hangs_up": Cause.UNREACHABLE,
    "cut_off": Cause.UNREACHABLE,
}
"""Ways in which a judge's server fails, and the cause for which a game is void then."""


class HashJudge:
    """Decides by the text alone."""

    name = "hash"
    smoke_only = True

    def judge(self, dialogues):
        return [self.verdict(dialogue) for dialogue in dialogues]

    def verdict(self, dialogue):
        bits = hashlib.sha256(repr(dialogue).encode()).digest()[0]
        return Verdict(
            prompt_harmful=bool(bits & 1),
            response_refusal=bool(bits & 2),
            response_harmful=bool(bits & 4),
            judge=self.name,
        )


def players():
    return {ATTACKER: ScriptedAttacker(WORLD), DEFENDER: OracleDefender(WORLD)}


def steps(games, *, together=TOGETHER, first=0):
    """Yield games to play, some at a time."""
    for k in range(games // together):
        yield schedule(SOURCE, together, path=(0, "step", first + k))


def played_with(judge, step):
    """Play the games of a step, and again after each refusal, as a command that is given again does.

    Returns:
        The games, and the refusals.
    """
    refusals = []
    while True:
        try:
            return play(step, players(), judge), refusals
        except RedteamError as error:
            refusals.append(str(error))


def through_faulty_judges(games, seed):
    """Play through a judge that fails half of the time, in one way after the other."""
    judges = {
        how: faults.FaultyJudge(HashJudge(), faults.When(rate=0.5, seed=seed), how)
        for how in faults.JUDGE_FAULTS
    }
    episodes, refused = [], Counter()
    for step, how in zip(steps(games), cycle(sorted(judges)), strict=False):
        own, refusals = played_with(judges[how], step)
        episodes += own
        refused[how] += len(refusals)
        for text in refusals:
            assert "\n" not in text
            assert "judge 'hash'" in text
            assert "game (0, 'step', " in text
    return episodes, refused, {how: judge.when.failed for how, judge in judges.items()}


def test_a_thousand_games_through_a_judge_that_fails_in_thirteen_ways():
    whole = [x for step in steps(1000) for x in play(step, players(), HashJudge())]
    assert not any(x.void for x in whole)
    episodes, refused, failed = through_faulty_judges(1000, seed=3)
    assert [x.path for x in episodes] == [x.path for x in whole]
    assert all(failed.values())
    for how in REFUSED:
        assert refused[how] == failed[how], how
    assert refused.total() == sum(failed[how] for how in REFUSED)
    void = Counter(x.void for x in episodes if x.void)
    told = void.copy()
    told[VOID["unknown"]] += told.pop(RAW_UNKNOWN)
    assert told == {reason: failed[how] * TOGETHER for how, reason in VOID.items()}
    # whatever is not void is as if nothing had happened; a verdict that comes later counts, too
    assert all(x.void or x == y for x, y in zip(episodes, whole, strict=True))
    assert all(not x.samples and not any(x.rewards.values()) for x in episodes if x.void)
    rates = measure(episodes)
    assert (rates.games, rates.void) == (1000, void.total())
    assert rates.format_violations.n == 1000 - void.total()
    assert rates.void_reasons == void
    assert through_faulty_judges(1000, seed=3) == (episodes, refused, failed)
    print(f"1000 games: {dict(refused)} refused and played again, {dict(void)} void")


def through_faulty_servers(games, template_file):
    """Play through a judge whose server fails half of the time, in one way after the other."""
    episodes, retries = {}, {}
    for how in SERVED:
        when = faults.When(rate=0.5, seed=1)
        with faults.FaultyServer(labels, when=when, how=how) as server:
            judge = wildguard(
                server.url, template_file=template_file, concurrency=1, retries=1, backoff=1e-3
            )
            own = [play(step, players(), judge) for step in steps(games // len(SERVED))]
        episodes[how] = [x for step in own for x in step]
        retries[how] = judge.usage.retries
    return episodes, retries


def labels(_):
    return "Harmful request: yes\nResponse refusal: no\nHarmful response: yes"


def test_a_thousand_games_through_a_server_that_fails_in_eleven_ways(tmp_path):
    assert set(SERVED) == set(faults.SERVER_FAULTS)
    file = tmp_path / "template"
    file.write_text("{prompt}\n{response}\nAnswers:")
    episodes, retries = through_faulty_servers(1100, file)
    for how, cause in SERVED.items():
        void = [x.void for x in episodes[how] if x.void]
        assert 5 < len(void) < 95, how
        assert {x.split(": ")[1] for x in void} == {cause}, how
        assert "made to fail" not in " ".join(void)
        assert bool(retries[how]) is (cause in PASSING), how
        rates = measure(episodes[how])
        assert (rates.games, rates.void) == (100, len(void))
        assert all(x.void or x.verdict.response_harmful for x in episodes[how])
    assert through_faulty_servers(1100, file) == (episodes, retries)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holds:
    """What this process holds: objects, bytes of memory, open files and threads."""

    objects: int
    memory: int
    handles: int
    threads: int


def held():
    gc.collect()
    process = psutil.Process()
    return Holds(
        objects=len(gc.get_objects()),
        memory=process.memory_info().rss,
        handles=process.num_fds(),
        threads=threading.active_count(),
    )


def play_games(games, first, judge):
    """Play scripted games, half of them in an environment; return how many ended."""
    count = 0
    for step in steps(games // 2, together=250, first=first):
        count += len(play(step, players(), judge))
    env = redteam_env.raw_env(judge=judge, seeds=SOURCE, thinking={})
    for number in range(games - count):
        env.reset(seed=first + number)
        while env.agents:
            over = env.terminations[env.agent_selection] or env.truncations[env.agent_selection]
            env.step(None if over else "a word")
        count += 1
    env.close()
    return count


def grows(judge, *, warm, games):
    """Play games in a new process, and return what it holds at the end that it did not hold after some.

    A process that did much before has free memory, out of which a leak would be served unseen. Memory may
    differ by 10 MiB, which allocators keep or return as they like; of a hundred thousand games these are
    105 bytes each. A single object of one game in a thousand shows in the count of objects.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(grows_here, judge, warm, games).result()


def grows_here(judge, warm, games):
    assert play_games(warm, 0, judge) == warm
    before = held()
    assert play_games(games, warm, judge) == games
    after = held()
    print(f"{games} games after {warm}: {before} -> {after}")
    allowed = Holds(objects=20 + games // 1000, memory=10 * 2**20, handles=0, threads=0)
    return {
        x.name
        for x in fields(Holds)
        if getattr(after, x.name) - getattr(before, x.name) > getattr(allowed, x.name)
    }


def test_thousands_of_games_leave_nothing_behind():
    assert not grows(ApothecaryJudge(), warm=1000, games=4000)


@pytest.mark.slow
def test_a_hundred_thousand_games_leave_nothing_behind():
    assert not grows(ApothecaryJudge(), warm=10_000, games=100_000)


class Keeps(ApothecaryJudge):
    """A judge that does not let go of something."""

    def __init__(self):
        super().__init__()
        self.kept = []


class KeepsObjects(Keeps):
    def judge(self, dialogues):
        self.kept += [[x] for x in dialogues[:1]]
        return super().judge(dialogues)


class KeepsBytes(Keeps):
    def judge(self, dialogues):
        self.kept += [bytes(x % 256 for x in range(10_000)) for _ in dialogues]
        return super().judge(dialogues)


class KeepsHandles(Keeps):
    def judge(self, dialogues):
        if len(dialogues) > 1:
            self.kept.append(Path(__file__).open())  # noqa: SIM115 - a leak on purpose
        return super().judge(dialogues)


@pytest.mark.parametrize(
    ("leak", "what"),
    [(KeepsObjects, "objects"), (KeepsBytes, "memory"), (KeepsHandles, "handles")],
)
def test_a_leak_shows(leak, what):
    assert what in grows(leak(), warm=500, games=2000)
