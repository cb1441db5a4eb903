"""One plug-in of each kind, written as a third party would write it: no base class, no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from redteam_env import Dialogue, Reply, Seed, TurnRequest, Verdict
from redteam_env.game import ATTACKER, DEFENDER, Game
from redteam_env.protocols import (
    Agent,
    AlgorithmState,
    Attempts,
    Batch,
    DataCard,
    GameSetup,
    Judge,
    League,
    LoggedRun,
    LogTable,
    Match,
    Queries,
    Result,
    SeedSource,
    TrainablePolicy,
    WorldOptions,
)
from redteam_env.rollout import play, schedule
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
class PolicyConfig:
    """Settings of the dummy policy.

    Attributes:
        dummy_word: What both roles say.
    """

    dummy_word: str = "WORD"


class Policy:
    """Both roles say one word, whatever they learn: the least that a trainer asks of a policy."""

    Config = PolicyConfig
    trainable_roles = ("attacker", "defender")

    def __init__(self, config: PolicyConfig, *, seed: int) -> None:
        self._word = config.dummy_word
        self._version = 0

    def weights_of(self, role: str) -> str:
        """Name the one thing that is trained."""
        return "word"

    def parameters(self, weights: str) -> list[object]:
        """There is nothing to train."""
        return []

    def logprobs(self, role: str, generations: Sequence[object], **wanted: object) -> object:
        """Refuse: no turn of this policy has tokens."""
        raise NotImplementedError

    reference_logprobs = logprobs

    def encode_example(self, role: str, messages: object, response: str, *, prefill: str) -> None:
        """Take any prompt."""

    def publish(self, weights: str) -> int:
        """Count a version."""
        self._version += 1
        return self._version

    def agent(self, role: str) -> "Policy":
        """Play oneself."""
        return self

    def act(self, requests: Sequence[TurnRequest]) -> list[Reply]:
        """Say the word."""
        return [Reply(text=self._word) for _ in requests]

    def describe(self) -> Mapping[str, object]:
        """Say what it is."""
        return {"word": self._word}

    def save(self, directory: Path) -> None:
        """Write the word."""
        directory.mkdir()
        (directory / "word.txt").write_text(self._word, encoding="utf-8")

    def restore(self, directory: Path) -> None:
        """Read the word."""
        self._word = (directory / "word.txt").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockConfig:
    """Settings of the dummy callback.

    Attributes:
        dummy_tick: What each step adds.
    """

    dummy_tick: int = 1


class Clock:
    """Logs how often it ticked, over resumed runs, too."""

    Config = ClockConfig
    name = "dummy_clock"

    def __init__(self, config: ClockConfig) -> None:
        self._tick = config.dummy_tick
        self._ticks = 0

    def on_update(self, step: int, row: dict[str, float]) -> None:
        """Tick."""
        self._ticks += self._tick
        row["dummy/ticks"] = self._ticks

    def state(self) -> Mapping[str, int]:
        """Return the ticks."""
        return {"ticks": self._ticks}

    def load_state(self, state: Mapping[str, int]) -> None:
        """Go back to them."""
        self._ticks = state["ticks"]


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


class Loud:
    """An attack that says each seed in capitals, once."""

    name = "dummy_attack"
    exchanges = 1

    def __init__(self, attacker: Agent | None = None, seed: int = 0) -> None:
        """Take what every attack is given."""

    def attack(
        self, setups: Sequence[GameSetup], target: Agent, judge: Judge, *, game: Game, **_: object
    ) -> Attempts:
        """Make one attempt at each seed."""
        seats = {ATTACKER: ShoutingAgent(), DEFENDER: target}
        games = [replace(setup, rewritten=True) for setup in setups]
        episodes = play(games, seats, judge, game=game)
        count = len(episodes)
        queries = Queries(target=count, attacker=count, judge=count)
        return Attempts(episodes=[[episode] for episode in episodes], queries=queries)


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


class Diary:
    """A logger: writes a line a step into a file of the run directory.

    Args:
        file: The name of the file.
    """

    def __init__(self, file: str = "diary.txt") -> None:
        self._name = file

    def start(self, run: LoggedRun) -> Mapping[str, int]:
        """Open the file, and count the sessions."""
        self._file = run.directory / self._name
        self._session = run.state.get("session", 0) + 1
        return {"session": self._session}

    def log(
        self,
        step: int,
        scalars: Mapping[str, float | int | None],
        tables: Mapping[str, LogTable],
        files: Sequence[Path],
    ) -> None:
        """Write what a step was."""
        with self._file.open("a", encoding="utf-8") as diary:
            diary.write(
                f"session {self._session} step {step}: {len(scalars)} numbers, {len(tables)} tables\n"
            )

    def finish(self, outcome: object) -> None:
        """Write that the session is over."""
        with self._file.open("a", encoding="utf-8") as diary:
            diary.write(f"session {self._session} is over\n")


class Down(Diary):
    """A tracker whose server is down."""

    def log(self, *given: object) -> None:
        """Fail."""
        raise ConnectionError("no route to dummy_down")


def command(argv: Sequence[str]) -> int:
    """Say that the dummy plug-in is there."""
    print("dummy plug-in:", *argv)
    return 0


def world() -> WorldOptions:
    """A world of one's own: settings that belong together."""
    return WorldOptions(options={"seeds": "dummy_seeds", "judge": "dummy_judge", "rank": 2})


def recipes() -> Path:
    """A folder of recipe cards: each file in it is a recipe."""
    return Path(__file__).parent / "cards"
