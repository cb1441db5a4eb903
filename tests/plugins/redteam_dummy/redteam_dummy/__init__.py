"""One plug-in of each kind, written as a third party would write it: no base class, no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from redteam_env import Dialogue, Reply, Seed, TurnRequest, Verdict
from redteam_env.game import Game
from redteam_env.protocols import (
    AlgorithmState,
    Batch,
    DataCard,
    GameSetup,
    League,
    Match,
    Result,
    SeedSource,
    TrainablePolicy,
)
from redteam_env.rollout import schedule
from redteam_env.seeds import ListSource


class ShoutingAgent:
    """Says the last message in capitals."""

    def act(self, requests: Sequence[TurnRequest]) -> list[Reply]:
        """Answer every request, in order."""
        return [Reply(text=request.messages[-1]["content"].upper()) for request in requests]


def agent(role: str) -> ShoutingAgent:
    """An agent that shouts."""
    return ShoutingAgent()


CAPITALS = ShoutingAgent()
"""No plug-in: an agent that is made already, where a factory of agents is wanted."""


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

    def update(self, policy: TrainablePolicy, batches: Mapping[str, Batch]) -> Mapping[str, float]:
        """Count an update."""
        self._updates += 1
        return {"dummy/updates": self._updates, "dummy/weight": self._config.dummy_weight}

    def state(self) -> AlgorithmState:
        """Return the count."""
        return AlgorithmState(values={"updates": self._updates})

    def load_state(self, state: AlgorithmState) -> None:
        """Go back to a count."""
        self._updates = int(state.values["updates"])


class Forgetful:
    """No algorithm: it learns, but keeps nothing that a resumed run needs."""

    Config = Config

    def __init__(self, config: Config, *, policy: TrainablePolicy, game: Game, seed: int) -> None:
        """Make it as every algorithm is made."""

    def update(self, policy: TrainablePolicy, batches: Mapping[str, Batch]) -> Mapping[str, float]:
        """Change nothing."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnsConfig:
    """Settings of the dummy opponents.

    Attributes:
        dummy_block: Steps in which one role learns before the other does.
    """

    dummy_block: int = 1


class Turns:
    """Lets the roles learn in turns, by blocks of steps."""

    Config = TurnsConfig

    def __init__(self, config: TurnsConfig, *, league: League, seed: int) -> None:
        self._config = config
        self._league = league
        self._steps = 0

    def matches(self, step: int, rewritten: Sequence[bool]) -> list[Match]:
        """Match the current weights; one of them learns."""
        learner = ("attacker", "defender")[step // self._config.dummy_block % 2]
        return [
            Match(players=dict(self._league.weights), learners=(learner if plays else "defender",))
            for plays in rewritten
        ]

    def finish(self, step: int, results: Sequence[Result]) -> Mapping[str, float]:
        """Count a step."""
        self._steps += 1
        return {"dummy/steps": self._steps}

    def state(self) -> Mapping[str, int]:
        """Return the count."""
        return {"steps": self._steps}

    def load_state(self, state: Mapping[str, int]) -> None:
        """Go back to a count."""
        self._steps = int(state["steps"])


class Capitals:
    """A suite of requests: every held-out seed in capitals."""

    rewritten = True

    def __init__(self, setups: Sequence[GameSetup]) -> None:
        self.setups = setups

    def attacker(self) -> ShoutingAgent:
        """Return who writes them so."""
        return ShoutingAgent()


def suite(*, source: SeedSource, games: int, seed: int) -> Capitals:
    """Requests in capitals."""
    path = (seed, "dummy suite")
    return Capitals(schedule(source, games, path=path, rewrite_fraction=1.0, split="heldout"))


class Questions:
    """A suite of questions: say anything but the question itself."""

    def __init__(self, requests: Sequence[TurnRequest]) -> None:
        self.requests = requests

    def right(self, k: int, text: str) -> bool:
        """Whether a text is another one than the k-th question."""
        return text != self.requests[k].messages[-1]["content"]


def questions(*, source: SeedSource, games: int, seed: int) -> Questions:
    """Questions that are hard to answer wrongly."""
    asked = [{"role": "system", "content": "Answer."}]
    return Questions(
        [
            TurnRequest(
                seat="defender_0",
                role="defender",
                messages=[*asked, {"role": "user", "content": f"question {k}"}],
                path=(seed, "dummy questions", k),
            )
            for k in range(games)
        ]
    )


def command(argv: Sequence[str]) -> int:
    """Say that the dummy plug-in is there."""
    print("dummy plug-in:", *argv)
    return 0
