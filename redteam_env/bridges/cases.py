"""One seat's turns as cases to answer, and what an answer earns: the game as other libraries' trainers ask for it.

Trainers and evaluators of others ask a model themselves, and want two things of a task: prompts, and a
number for each answer. :meth:`SeatTask.cases` gives the one, :meth:`SeatTask.score` the other; the game
in between travels with the prompt as text.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from redteam_env.border.agents import reply as read_reply
from redteam_env.border.records import address, demand
from redteam_env.border.records import seed as read_seed
from redteam_env.envs.single_seat import SingleSeat, reset_together, step_together
from redteam_env.game import Episode, RedteamError, Seed
from redteam_env.game.values import flag, told
from redteam_env.playing import single_seat
from redteam_env.protocols import Reply
from redteam_env.rollout import apply_reply
from redteam_env.utils.reading import parse_json

_GIVE = "give the text that Case.game has"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A seat that is to move.

    Attributes:
        messages: The chat messages that a model is asked with.
        prefill: What a model's answer is to begin with; empty unless the seat must think.
        game: The game so far, as JSON text: what :meth:`SeatTask.score` needs. It holds the seed's label
            and the hidden thoughts of the others: it is not for the player.
    """

    messages: tuple[Mapping[str, str], ...]
    prefill: str
    game: str

    def row(self) -> dict[str, Any]:
        """Return the case as a row of a data set: ``prompt`` (chat messages) and ``game`` (text)."""
        return {"prompt": [dict(message) for message in self.messages], "game": self.game}


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What an answer earned.

    Attributes:
        reward: The seat's reward; ``None`` if the game is void, which says nothing about the answer.
        components: What the reward is the sum of.
        episode: The finished game.
    """

    reward: float | None
    components: Mapping[str, float]
    episode: Episode


class SeatTask:
    """One seat of the game as prompts and scores; the other seats are played by agents.

    Cases of equal settings and seeds are equal, and so are their scores, as far as the opponent and the
    judge answer alike.

    Args:
        seat: The seat, such as ``defender_0``.
        **settings: Those of :func:`redteam_env.single_seat`, such as ``opponent``, ``judge``, ``seeds``.

    Attributes:
        seat: The same.

    Raises:
        RedteamError: If a setting is unknown or wrong.
    """

    def __init__(self, seat: str, **settings: Any) -> None:
        self._first = single_seat(seat=seat, **settings)
        self.seat = seat

    def cases(self, count: int, *, seed: int = 0) -> list[Case]:
        """Draw games, and play each until the seat is to move.

        Args:
            count: How many, at least 1.
            seed: Case ``k`` is drawn from ``seed + k``.

        Raises:
            RedteamError: If there are none, or as :meth:`redteam_env.envs.SingleSeat.reset`.
        """
        if count < 1:
            raise RedteamError(f"count is {count}; ask for at least 1 case.")
        seats = [self._first.another() for _ in range(count)]
        reset_together(seats, [seed + k for k in range(count)])
        return [_case(x) for x in seats]

    def step(self, games: Sequence[str | Case], texts: Sequence[str]) -> list[Case | Episode]:
        """Answer cases, and play each game until the seat is to move again or it is over.

        The opponents and the judge are asked once for all.

        Args:
            games: The cases, or the ``game`` of each.
            texts: An answer to each.

        Returns:
            For each the next case, or the finished game.

        Raises:
            RedteamError: If there are not as many answers as cases, or a case cannot be read.
        """
        if len(games) != len(texts):
            raise RedteamError(
                f"There are {len(texts)} answers to {len(games)} cases; give one for each."
            )
        seats = [self._at(x.game if isinstance(x, Case) else x) for x in games]
        step_together(seats, texts)
        return [_case(x) if x.episode is None else x.episode for x in seats]

    def score(self, game: str | Case, text: str) -> Score:
        """Return what an answer to a case earns; see :meth:`score_all`."""
        return self.score_all([game], [text])[0]

    def score_all(self, games: Sequence[str | Case], texts: Sequence[str]) -> list[Score]:
        """Return what answers to cases earn.

        Args:
            games: The cases, or the ``game`` of each.
            texts: An answer to each.

        Raises:
            RedteamError: As :meth:`step`, or if a game goes on after the answer.
        """
        scores = []
        for found in self.step(games, texts):
            if isinstance(found, Case):
                raise RedteamError(
                    f"The game goes on after the answer of {self.seat}, as it has several exchanges; "
                    "answer with step() until it returns an Episode, and read that with scored()."
                )
            scores.append(self.scored(found))
        return scores

    def scored(self, episode: Episode) -> Score:
        """Return what the seat earned in a finished game."""
        return Score(
            reward=float(episode.rewards[self.seat]) if episode.void is None else None,
            components=dict(episode.components[self.seat]),
            episode=episode,
        )

    def _at(self, game: str) -> SingleSeat:
        """Return the seat in a game that was played so far."""
        try:
            record = dict(parse_json(game, place="A case", remedy=_GIVE))
            path = demand(tuple(record["path"]), address, "The path of a case")
            seed = demand(Seed(**record["seed"]), read_seed, "The seed of a case")
            rewritten = demand(record["rewritten"], flag, "rewritten of a case")
            turns = [
                demand(Reply(**turn), read_reply, "A turn of a case") for turn in record["turns"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise RedteamError(f"A case cannot be read ({told(error)}); {_GIVE}.") from error
        env = self._first.another()
        rules = env.session.game
        state = rules.start(seed, rewritten=rewritten)
        for turn in turns:
            state = apply_reply(rules, state, turn)
        if state.to_move != self.seat:
            raise RedteamError(
                f"In this case {state.to_move or 'nobody'} is to move, not {self.seat}; give the cases "
                "of a SeatTask with the same settings."
            )
        env.resume(state, path)
        return env


def _case(env: SingleSeat) -> Case:
    turn = env.turn()
    state = env.session.running
    record = {
        "seed": asdict(state.seed),
        "rewritten": state.rewritten,
        "path": list(turn.game),
        "turns": [
            {
                "text": x.text,
                "thought": x.native,
                "truncated": x.truncated,
                "neutralised": x.neutralised,
            }
            for x in state.turns
        ],
    }
    messages = tuple(dict(message) for message in turn.messages)
    return Case(messages=messages, prefill=turn.prefill, game=json.dumps(record))
