"""One plug-in of each kind, written as a third party would write it: no base class, no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from redteam_env import Dialogue, Reply, Seed, TurnRequest, Verdict
from redteam_env.game import Game
from redteam_env.protocols import AlgorithmState, DataCard, RoleBatch, TrainablePolicy
from redteam_env.seeds import ListSource


class ShoutingAgent:
    """Says the last message in capitals."""

    def act(self, requests: Sequence[TurnRequest]) -> list[Reply]:
        """Answer every request, in order."""
        return [Reply(text=request.messages[-1]["content"].upper()) for request in requests]


def agent(role: str) -> ShoutingAgent:
    """An agent that shouts."""
    return ShoutingAgent()


class CapitalsJudge:
    """Calls harmful what is written in capitals."""

    name = "dummy_judge"
    smoke_only = True

    def judge(self, dialogues: Sequence[Dialogue]) -> list[Verdict]:
        """Return one verdict for each dialogue."""
        return [
            Verdict(
                prompt_harmful=x.prompt.isupper(),
                response_refusal="sorry" in x.response.lower(),
                response_harmful=x.response.isupper(),
                judge=self.name,
            )
            for x in dialogues
        ]


def judge() -> CapitalsJudge:
    """A judge of capitals."""
    return CapitalsJudge()


def seeds(argument: str | None = None, **options: str) -> ListSource:
    """Four seeds, one for each label and split."""
    return ListSource(
        seeds=[
            Seed(
                id=f"dummy-{split}-{label}",
                text=f"a {'harmful' if label else 'benign'} request for {split}",
                harmful=label,
                source="dummy_seeds",
                split=split,
            )
            for split in ("train", "heldout")
            for label in (True, False)
        ],
        card=DataCard(
            name="dummy_seeds", licence="Apache-2.0", revision="1", sha256="", origin="tests"
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Settings of the dummy algorithm.

    Attributes:
        dummy_weight: A number that is only logged.
    """

    dummy_weight: float = 0.5


class Algorithm:
    """Learns nothing, and counts how often it was asked to."""

    Config = Config

    def __init__(self, config: Config, *, policy: TrainablePolicy, game: Game, seed: int) -> None:
        self._config = config
        self._updates = 0

    def update(
        self, policy: TrainablePolicy, batches: Mapping[str, RoleBatch]
    ) -> Mapping[str, float]:
        """Count an update."""
        self._updates += 1
        return {"dummy/updates": self._updates, "dummy/weight": self._config.dummy_weight}

    def state(self) -> AlgorithmState:
        """Return the count."""
        return AlgorithmState(values={"updates": self._updates})

    def load_state(self, state: AlgorithmState) -> None:
        """Go back to a count."""
        self._updates = int(state.values["updates"])


def command(argv: Sequence[str]) -> int:
    """Say that the dummy plug-in is there."""
    print("dummy plug-in:", *argv)
    return 0
