"""The game as a task of inspect_ai: one seat is asked, and a scorer plays the game to its end.

``pip install 'redteam-env[bridges]'``
"""

from typing import Any

from inspect_ai import Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageSystem, ChatMessageUser
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import TaskState, generate

from redteam_env.bridges.cases import Case, SeatTask
from redteam_env.game import Verdict

_KINDS = {
    "system": ChatMessageSystem,
    "user": ChatMessageUser,
    "assistant": ChatMessageAssistant,
}
_LABELS = ("prompt_harmful", "response_refusal", "response_harmful")


def inspect_task(task: SeatTask, count: int, *, seed: int = 0) -> Task:
    """Return a task of ``count`` games; each sample is asked for the seat's one turn.

    Args:
        task: The seat; its games have one exchange.
        count: How many games.
        seed: As in :meth:`SeatTask.cases`.
    """
    samples = [_sample(k, case) for k, case in enumerate(task.cases(count, seed=seed))]
    return Task(
        dataset=MemoryDataset(samples, name=f"redteam_{task.seat}"),
        solver=generate(),
        scorer=game_scorer(task),
        name=f"redteam_{task.seat}",
    )


@scorer(metrics={"*": [mean(), stderr()]})  # type: ignore[untyped-decorator]  # not seen by the type checker
def game_scorer(task: SeatTask) -> Scorer:
    """Score an answer by the rest of its game: the reward, and the judge's labels as 0 or 1.

    It reads the stored answer and the sample's metadata only, so ``inspect score`` works on a log
    without asking the model again. A void game is not scored.

    Args:
        task: The seat that answered.
    """

    async def score(state: TaskState, target: Target) -> Score:  # noqa: ARG001 - inspect's protocol
        text = state.output.completion
        found = task.score(state.metadata["game"], text)
        episode = found.episode
        if found.reward is None:
            return Score.unscored(reason=f"void: {episode.void}", answer=text)
        return Score(
            value={"reward": found.reward, **_labels(episode.verdict)},
            answer=text,
            metadata={"components": dict(found.components)},
        )

    return score


def _labels(verdict: Verdict | None) -> dict[str, Any]:
    return {name: float(getattr(verdict, name) or 0) for name in _LABELS}


def _sample(number: int, case: Case) -> Sample:
    said: list[ChatMessage] = [_KINDS[x["role"]](content=x["content"]) for x in case.messages]
    return Sample(id=number, input=said, metadata={"game": case.game})
