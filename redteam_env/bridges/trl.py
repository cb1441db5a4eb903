"""The game for TRL's trainers: a data set and a reward function, or an environment for games of several exchanges."""

from collections.abc import Callable, Sequence
from typing import Any

from redteam_env.bridges.cases import Case, SeatTask
from redteam_env.game import Episode, RedteamError

SAY = (
    "\n\nTalk to the other side with the tool say. Call it once for each of your messages, and again after "
    "each answer, until it tells you that the game is over."
)
OVER = "The game is over."


def reward_function(task: SeatTask) -> Callable[..., list[float | None]]:
    """Return a reward function as TRL's GRPOTrainer, RLOOTrainer and others take them.

    ::

        dataset = Dataset.from_list([case.row() for case in task.cases(256)])
        GRPOTrainer(..., train_dataset=dataset, reward_funcs=reward_function(task))

    Args:
        task: The seat to train; its games have one exchange.

    Returns:
        A function of completions and the column ``game``. A void game gives ``None``, which TRL leaves
        out.
    """

    def redteam_reward(
        completions: Sequence[Any],
        game: Sequence[str],
        **_: Any,
    ) -> list[float | None]:
        texts = [_said(completion) for completion in completions]
        return [score.reward for score in task.score_all(game, texts)]

    return redteam_reward


def environment_factory(task: SeatTask) -> Callable[[], "TalkEnvironment"]:
    """Return what TRL's ``environment_factory`` is: it makes an environment in which a model talks by a tool.

    For games of several exchanges. Each row of the data set brings its game (``case.row()``), and the
    environment owns the reward. TRL marks the interface as experimental.

    Args:
        task: The seat to train.
    """
    return lambda: TalkEnvironment(task)


class TalkEnvironment:
    """One game as TRL plays it: what the model says, it says by calling :meth:`say`."""

    def __init__(self, task: SeatTask) -> None:
        self._task = task
        self._at: Case | Episode | None = None
        self._game = ""

    def reset(self, game: str, **_: Any) -> str:
        """Start the game of a row.

        Args:
            game: The column ``game`` of the row.

        Returns:
            What is added to the row's prompt: how to talk.
        """
        self._game, self._at = game, None
        return SAY

    def say(self, message: str) -> str:
        """Say something to the other side, and hear its answer.

        Args:
            message: What you say.

        Returns:
            The answer, or that the game is over.
        """
        if isinstance(self._at, Episode):
            return OVER
        at = self._at.game if self._at is not None else self._game
        self._at = self._task.step([at], [message])[0]
        return OVER if isinstance(self._at, Episode) else str(self._at.messages[-1]["content"])

    def get_reward(self) -> float | None:
        """Return the reward of the game; ``None`` if it was not played to its end or is void."""
        if not isinstance(self._at, Episode):
            return None
        return self._task.scored(self._at).reward


def _said(completion: Any) -> str:
    """Return the text of a completion: a text, or messages of which the last one counts."""
    if isinstance(completion, str):
        return completion
    try:
        return str(completion[-1]["content"])
    except (IndexError, KeyError, TypeError) as error:
        raise RedteamError(
            f"The completion is {completion!r:.80}; it must be a text or a list of chat messages."
        ) from error
