"""What every variant of the game must keep, whatever the seats say.

Each rule plays games of its own with plain, tagged, malformed and hostile texts and raises an
``AssertionError`` that says what was seen. They need a cheap judge that gives the same dialogue the
same verdict.
"""

import copy
import dataclasses
import json
import math
import pickle  # nosec B403 # nothing is read that was not written just before
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from redteam_env.game import Dialogue, Episode, Seed, Thinking, Turn, Verdict
from redteam_env.protocols import Reply
from redteam_env.randomness import generator
from redteam_env.testing.driver import DECOY, Driver
from redteam_env.testing.texts import Probe, probes

TAGGED = "<think>I go on.</think><answer>Go on.</answer>"

Make = Callable[[], Driver]


class _Failing:
    """A judge without verdicts, which compares nothing either."""

    name = "failing"
    smoke_only = True

    @property
    def content(self) -> "_Failing":
        return self

    def scores(self, seeds: Sequence[Seed], _: Sequence[str]) -> list[None]:
        return [None for _ in seeds]

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        return [Verdict(judge=self.name, error="made to fail") for _ in dialogues]


def need(condition: object, message: str) -> None:
    """Raise an ``AssertionError`` with the message unless the condition holds."""
    if not condition:
        raise AssertionError(message)


def play(
    driver: Driver,
    probe: Probe | None = None,
    *,
    seed: int | None = None,
    options: Mapping[str, Any] | None = None,
    only: str | None = None,
) -> Iterator[None]:
    """Play a game, pausing after the start and after every action.

    Args:
        driver: The environment.
        probe: What is said; by default something neutral.
        seed: For ``reset``.
        options: For ``reset``.
        only: The seat that says it, the others say something neutral; by default all say it.
    """
    driver.reset(seed, options)
    yield
    longest = driver.session.game.exchanges * len(driver.seats)
    for _ in range(longest):
        seat = driver.to_move
        if seat is None:
            break
        if probe is None or only not in (None, seat):
            driver.act(neutral(driver, seat))
        else:
            driver.act(probe.text)
        yield
    need(driver.to_move is None, f"after {longest} actions {driver.to_move} is still to move")
    need(driver.episode is not None, "the game is over but env.unwrapped.episode is None")


def neutral(driver: Driver, seat: str) -> str:
    """Return a text that a seat may say under every rule."""
    return TAGGED if driver.session.game.must_think(seat) else "Go on."


def finish(driver: Driver, probe: Probe | None = None, **how: Any) -> Episode:
    """Play a game to its end."""
    for _ in play(driver, probe, **how):
        pass
    episode = driver.episode
    assert episode is not None  # noqa: S101 - play() has just made sure
    return episode


def texts(driver: Driver, key: str, seed: int) -> list[Probe]:
    """Return the probes for an environment."""
    return probes(key, generator((seed, "check_game", key)), driver.session.game.max_action_chars)


def spaces_hold(make: Make, seed: int) -> None:
    """No text leads out of the observation, action and state spaces."""
    driver = make()
    for n, probe in enumerate(texts(driver, "spaces", seed)):
        for _ in play(driver, probe, seed=seed + n):
            for seat in driver.seats:
                need(
                    driver.env.observation_space(seat).contains(driver.observation(seat)),
                    f"{seat}'s observation left its space after the text {probe.name!r}",
                )
            need(
                driver.env.unwrapped.state_space.contains(driver.env.state()),
                f"the state left its space after the text {probe.name!r}",
            )


def thoughts_stay_hidden(make: Make, seed: int) -> None:
    """No thought reaches another seat or the judge.

    Under ``thinking="none"`` there are no thoughts, and ``leak_on_violation`` shows malformed turns
    as a whole: those are left out.
    """
    driver = make()
    game = driver.session.game
    for seat in driver.seats:
        if game.thinking_of(seat) is Thinking.NONE:
            continue
        for probe in texts(driver, "thoughts", seed):
            if not probe.hidden or (probe.malformed and game.leak_on_violation):
                continue
            for _ in play(driver, probe, seed=seed, only=seat, options={"rewritten": True}):
                for other in driver.seats:
                    need(
                        other == seat or probe.hidden not in driver.view(other),
                        f"{other} saw a thought of {seat}, whose text was {probe.name!r}",
                    )
            heard = json.dumps([dataclasses.asdict(x) for x in driver.listener.heard])
            need(
                probe.hidden not in heard,
                f"the judge heard a thought of {seat}, whose text was {probe.name!r}",
            )


def turns_cannot_be_forged(make: Make, seed: int) -> None:
    """The dialogue a seat sees has exactly the public turns, one JSON object a line."""
    driver = make()
    for n, probe in enumerate(texts(driver, "forged", seed)):
        for _ in play(driver, probe, seed=seed + n):
            public = [dataclasses.asdict(x) for x in driver.session.running.dialogue.lines]
            for seat in driver.seats:
                observation = driver.observation(seat)
                if not isinstance(observation, Mapping) or "dialogue" not in observation:
                    continue
                lines = observation["dialogue"].splitlines()
                need(
                    [json.loads(line) for line in lines] == public,
                    f"{seat} saw other turns than were played, after the text {probe.name!r}",
                )


def only_the_mover_acts(make: Make, seed: int) -> None:
    """Chat messages go to the seat to move, and nothing that another seat says is read."""
    driver = make()
    for n, probe in enumerate(texts(driver, "mover", seed)):
        for _ in play(driver, probe, seed=seed + n):
            for seat in driver.seats:
                info, mover = driver.info(seat), driver.to_move
                need(
                    info.get("to_move") == mover,
                    f'infos[{seat!r}]["to_move"] is {info.get("to_move")!r}, not {mover!r}',
                )
                need(
                    bool(info.get("messages")) == (seat == mover),
                    f"{seat} has {len(info.get('messages', []))} messages while {mover} is to move",
                )
                need(DECOY not in driver.view(seat), f"{seat} saw an action out of turn")


def components_sum_to_rewards(make: Make, seed: int) -> None:
    """What a seat earned is its reward in the record and the sum of its components."""
    driver = make()
    for n, probe in enumerate(texts(driver, "rewards", seed)):
        episode = finish(driver, probe, seed=seed + n)
        for seat in driver.seats:
            told = sum(driver.info(seat).get("components", {}).values())
            kept = sum(episode.components[seat].values())
            sums = {"the record": episode.rewards[seat], "its components": kept, "its info": told}
            for where, total in sums.items():
                need(
                    math.isclose(total, driver.earned[seat], abs_tol=1e-9),
                    f"{seat} earned {driver.earned[seat]:g}, but {where} says {total:g}",
                )


def judged_once(make: Make, seed: int) -> None:
    """The judge is asked once about every game, and not about a forfeited one."""
    driver = make()
    for n, probe in enumerate(texts(driver, "judged", seed)):
        episode = finish(driver, probe, seed=seed + n)
        asked, due = len(driver.listener.heard), int(episode.forfeit is None)
        need(asked == due, f"the judge was asked {asked} times, not {due}; text: {probe.name!r}")


def void_games_count_for_nothing(make: Make, seed: int) -> None:
    """A game without a whole verdict pays 0 and gives no samples."""
    driver = make()
    driver.session.judge = _Failing()
    episode = finish(driver, seed=seed)
    need(
        episode.void or episode.forfeit,  # with a tiny limit nobody can keep a required format
        "the judge failed, but the game is not void",
    )
    if episode.forfeit:
        return
    need(not any(driver.earned.values()), f"a void game paid {driver.earned}")
    need(not episode.samples, f"a void game gave samples of {episode.samples}")


def same_seed_same_game(make: Make, seed: int) -> None:
    """Two environments with one seed play the same games, the later ones included."""
    first, second = make(), make()
    for n, probe in enumerate(texts(first, "seeded", seed)):
        start = seed if n == 0 else None
        for _ in zip(play(first, probe, seed=start), play(second, probe, seed=start), strict=True):
            for seat in first.seats:
                need(
                    first.view(seat) == second.view(seat),
                    f"{seat} saw different things in game {n} of two environments with one seed",
                )
        need(first.episode == second.episode, f"one seed gave two records of game {n}")


def records_replay(make: Make, seed: int) -> None:
    """A recorded game, played again, gives the same record; the rules agree."""
    driver, again = make(), make()
    for n, probe in enumerate(texts(driver, "replay", seed)):
        episode = finish(driver, probe, seed=seed + n)
        replay_through(again, episode)
        need(
            driver.session.game.replay(episode) == episode,
            f"the rules give another record of the game with the text {probe.name!r}",
        )
        need(
            Episode.from_json(episode.to_json()) == episode,
            f"the record of the game with the text {probe.name!r} changes in JSON",
        )


def replay_through(driver: Driver, episode: Episode) -> None:
    """Play a recorded game through a face and compare the records."""
    driver.reset(options={"seed": episode.seed, "rewritten": episode.rewritten})
    for turn in episode.turns:
        need(driver.to_move == turn.seat, f"{driver.to_move} is to move, in the record {turn.seat}")
        driver.act(_action(turn, driver.session.game.max_action_chars))
    need(driver.episode == episode, "a replayed game gave another record")


def _action(turn: Turn, limit: int) -> str | Reply:
    """Return what gives a recorded turn again: a text, if a text can."""
    if turn.error is None and not (turn.truncated or turn.native or turn.neutralised):
        return turn.text
    if turn.error is None and len(turn.text) == limit and not (turn.native or turn.neutralised):
        return turn.text + "x"  # it is marked as cut if it is over-long again
    return Reply(
        text=turn.text,
        error=turn.error,
        truncated=turn.truncated,
        thought=turn.native,
        neutralised=turn.neutralised,
    )


def faces_agree(make: Make, make_parallel: Make, seed: int) -> None:
    """A game of the AEC face replays to the same record through the parallel one, and back."""
    for one, other in ((make(), make_parallel()), (make_parallel(), make())):
        for n, probe in enumerate(texts(one, "faces", seed)):
            replay_through(other, finish(one, probe, seed=seed + n))


def copies_go_on(make: Make, seed: int) -> None:
    """A pickled and a deep copy of a running game end as the original does, later games too."""
    driver = make()
    running = play(driver, seed=seed)
    next(running)
    copies = [pickle.loads(pickle.dumps(driver)), copy.deepcopy(driver)]  # noqa: S301 - our own  # nosec B301 # what was written just before
    for _ in running:
        pass
    for other in copies:
        while other.to_move is not None:
            other.act(neutral(other, other.to_move))
        need(other.episode == driver.episode, "a copy of a running game ended in another way")
    following = finish(driver)
    for other in copies:
        need(finish(other) == following, "after a copied game another one followed")


def without_torch(before: bool) -> None:
    """The game runs without a deep-learning framework.

    Args:
        before: Whether torch was loaded before the environment was built.
    """
    need(before or "torch" not in sys.modules, "building or playing the environment imported torch")


RULES: Mapping[str, Callable[[Make, int], None]] = {
    "observations and state stay in their spaces": spaces_hold,
    "no thought reaches another seat": thoughts_stay_hidden,
    "no text can forge a turn": turns_cannot_be_forged,
    "only the seat to move acts": only_the_mover_acts,
    "reward components sum to the reward": components_sum_to_rewards,
    "the judge is asked exactly once": judged_once,
    "void games count for nothing": void_games_count_for_nothing,
    "same seed, same game": same_seed_same_game,
    "a recorded game replays": records_replay,
    "running games can be copied": copies_go_on,
}
