"""What others may write: agents, policies, judges, algorithms, seed sources.

Everything here is structural (``typing.Protocol``): a class with the right methods is enough, no
base class is needed, and no type of a deep-learning framework appears.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path as FilePath
from typing import Any, Protocol, runtime_checkable

import numpy as np

from redteam_env.game import Dialogue, Generation, Seed, Verdict
from redteam_env.randomness import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRequest:
    """One seat's turn in one of many games, as an agent sees it.

    Attributes:
        seat: The seat to move, such as ``attacker_0``.
        role: Its role, such as ``attacker``.
        messages: Chat messages: a system message, then user and assistant in turn.
        path: The address of this turn's randomness (:mod:`redteam_env.randomness`).
        prefill: Text that the answer starts with; the reply must not repeat it.
        seed: For the attacker, the seed it is to rewrite; for every other seat ``None``.
    """

    seat: str
    role: str
    messages: Sequence[Mapping[str, str]]
    path: Path
    prefill: str = ""
    seed: Seed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An agent's action: its text and, from a model that is trained, the tokens behind it.

    An agent that cannot answer, because its server failed for example, says why in ``error``. The
    game is then void: it is counted and reported, pays nothing, is not trained on, and stands
    neither for a refusal nor for a success.

    Attributes:
        text: The answer; what there is of it after a failure, which nobody will see.
        generation: The tokens behind it.
        error: A short reason without anybody's text, or ``None``.
        truncated: Whether a token limit cut the text; a ``generation`` says so itself.
    """

    text: str
    generation: Generation | None = None
    error: str | None = None
    truncated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What asking a model behind an API took so far.

    Attributes:
        requests: Questions asked, those that failed included.
        failed: Questions without a usable answer.
        cut: Answers that ended at the token limit.
        unmetered: Answers whose number of tokens the server did not tell.
        prompt_tokens: Tokens read, as the server counts.
        completion_tokens: Tokens written, as the server counts.
        cost: What they cost at the prices the user gave, in the currency of these; ``None`` without
            prices. Attempts that failed may be charged for all the same.
    """

    requests: int = 0
    failed: int = 0
    cut: int = 0
    unmetered: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None

    def plus(self, more: "Usage") -> "Usage":
        """Return the sum; the cost is known if one of both is."""
        costs = [x.cost for x in (self, more) if x.cost is not None]
        return Usage(
            requests=self.requests + more.requests,
            failed=self.failed + more.failed,
            cut=self.cut + more.cut,
            unmetered=self.unmetered + more.unmetered,
            prompt_tokens=self.prompt_tokens + more.prompt_tokens,
            completion_tokens=self.completion_tokens + more.completion_tokens,
            cost=sum(costs) if costs else None,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)


@runtime_checkable
class Agent(Protocol):
    """Plays a seat in many games at once.

    It may also have a method ``ready()``, which raises a ``RedteamError`` if it could not answer and
    is called before games are played, and an attribute ``usage`` (:class:`Usage`), which reports
    print.
    """

    def act(self, requests: Sequence[TurnRequest]) -> Sequence[Reply]:
        """Answer every request, in order. Take randomness from each request's path only."""
        ...


@runtime_checkable
class Judge(Protocol):
    """Reads public dialogues.

    ``name`` goes into every verdict and report; ``smoke_only`` marks a judge whose verdicts are
    good for tests but not for reported numbers. A judge whose work is done elsewhere, by a server
    for example, may have an attribute ``concurrent = True``: it is then asked from another thread
    (never twice at once) about the games of each chunk, while agents answer in the next. Training
    logs its attribute ``usage`` (:class:`Usage`), if it has one.
    """

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def smoke_only(self) -> bool:
        """Whether its verdicts are good for tests only."""
        ...

    def judge(self, dialogues: Sequence[Dialogue]) -> Sequence[Verdict]:
        """Return one verdict for each dialogue, in order. A failure is a verdict with ``error``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCard:
    """Where a seed source's data come from.

    Attributes:
        name: Name of the data set.
        licence: SPDX identifier or a short description.
        revision: Version, commit or date.
        sha256: Of the file that was read; empty for data that a library streams.
        origin: Where it was fetched from, in words or as an address.
        citation: Paper or repository to cite.
    """

    name: str
    licence: str
    revision: str
    sha256: str
    origin: str
    citation: str = ""


@runtime_checkable
class SeedSource(Protocol):
    """A supply of labelled seeds."""

    @property
    def card(self) -> DataCard:
        """Where the seeds come from."""
        ...

    def draw(
        self, n: int, rng: np.random.Generator, *, harmful: bool, split: str = "train"
    ) -> list[Seed]:
        """Return ``n`` seeds of one label and split, repeating only once all were drawn.

        Raises:
            RedteamError: If the source has no such seed.
        """
        ...

    def seeds(self, split: str) -> Sequence[Seed]:
        """Return all seeds of a split in a fixed order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One turn to learn from.

    Attributes:
        generation: Prompt and completion tokens with the log-probabilities they were sampled at.
        reward: The seat's reward for the game.
        components: The weighted components that sum to it.
        well_formed: Whether the turn kept the format.
        group: Games of one group share the seed.
        path: The game it belongs to.
        confidence: For each field of the verdict to which the judge gave a probability: twice the
            probability of its answer, less 1; 1 is certain, 0 a coin.
    """

    generation: Generation
    reward: float
    components: Mapping[str, float]
    well_formed: bool
    group: int
    path: Path
    confidence: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleBatch:
    """All samples of one role in one step."""

    role: str
    samples: tuple[Sample, ...]


@runtime_checkable
class TrainablePolicy(Protocol):
    """The policies of both roles, as an algorithm sees them.

    Tensors pass through as ``Any``: this package names no deep-learning framework.

    A policy whose agents sample with another program than :meth:`logprobs` computes with, such as a
    server, has an attribute ``exact_sampler = False``: the two differ by rounding at least, so
    algorithms take old log-probabilities from :meth:`logprobs` and log how far they are apart. A
    ``close()``, if there is one, is called by whoever made the policy, when it is done.
    """

    @property
    def trainable_roles(self) -> tuple[str, ...]:
        """The roles whose weights may change."""
        ...

    def weights_of(self, role: str) -> str:
        """Return the name of the weights behind a role; shared weights have one name."""
        ...

    def parameters(self, weights: str) -> Sequence[Any]:
        """Return the trainable tensors of named weights, in a fixed order."""
        ...

    def logprobs(self, role: str, generations: Sequence[Generation]) -> Any:
        """Return log-probabilities of completion tokens, with gradients to the role's weights.

        Returns:
            An object with ``logprobs`` and ``entropy`` (float tensors) and ``mask`` (bool tensor),
            each of shape (len(generations), longest completion).
        """
        ...

    def reference_logprobs(self, role: str, generations: Sequence[Generation]) -> Any:
        """Return the same under the frozen reference, without gradients and entropy."""
        ...

    def encode_example(
        self,
        role: str,
        messages: Sequence[Mapping[str, str]],
        response: str,
        *,
        prefill: str = "",
    ) -> Generation:
        """Return a supervised example as tokens (log-probabilities 0, version 0)."""
        ...

    def publish(self, weights: str) -> int:
        """Announce that named weights changed; return their new version."""
        ...

    def agent(self, role: str) -> Agent:
        """Return the agent that plays a role with the current weights."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Return what identifies the base, and parameter counts, as plain JSON."""
        ...

    def save(self, directory: FilePath) -> None:
        """Write all weights into a new directory, without pickle."""
        ...

    def restore(self, directory: FilePath) -> None:
        """Read weights back that :meth:`save` wrote.

        Raises:
            RedteamError: If they belong to another base or arrangement.
        """
        ...


@runtime_checkable
class ValuedPolicy(Protocol):
    """What a policy offers besides, if algorithms with a critic are to train it.

    The policy owns one value head a role, makes it when it is first asked for, and saves and
    restores it with its weights. It is none of the tensors of ``parameters``.
    """

    def value_parameters(self, role: str) -> Sequence[Any]:
        """Return the tensors of a role's value head, in a fixed order."""
        ...

    def values(self, role: str, generations: Sequence[Generation]) -> Any:
        """Return the expected reward before each completion token, with gradients to the head only.

        Returns:
            An object with ``values`` (float tensor, 0 off the mask) and ``mask`` (bool tensor), each
            of shape (len(generations), longest completion).
        """
        ...


@runtime_checkable
class Algorithm(Protocol):
    """Learns from episodes, role by role.

    What an algorithm's entry point names is called as ``factory(config, policy=..., game=...,
    seed=...)`` and carries the class of its config, a frozen dataclass with defaults, as
    ``factory.Config``; the command line takes its options from there. If it compares games of one
    seed, ``factory.least_group`` says how many at least (1 if it is missing); a run with a smaller
    ``group_size`` is refused before anything is played. ``factory.distributed = True`` says that
    ``update``, called in every process of a run with equal batches, leaves equal weights everywhere
    (it may share its work out, as the built-in algorithms do); without
    it a run in several processes is refused. Any other need, such as a
    :class:`ValuedPolicy`, the factory checks itself and raises a ``RedteamError``.

    What does not learn from batches of tokens brings a loop of its own: ``factory.train(config)``
    gets the whole run and returns how it ended, and nothing else here is asked for. Its checkpoints
    then name the agent that plays them (:mod:`redteam_env.evaluation.saved`). ``factory.arrangements``
    lists those it can train, if not all.
    """

    def update(
        self, policy: TrainablePolicy, batches: Mapping[str, RoleBatch]
    ) -> Mapping[str, float]:
        """Change the policy's weights once; return metrics named ``role/what``."""
        ...

    def state(self) -> "AlgorithmState":
        """Return everything that a resumed run needs."""
        ...

    def load_state(self, state: "AlgorithmState") -> None:
        """Go back to a state that :meth:`state` returned."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AlgorithmState:
    """What an algorithm keeps between steps: flat tensors by name, and plain JSON."""

    tensors: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


class Generator(Protocol):
    """Completes prompts, for judges that run a model in process."""

    def generate(self, prompts: Sequence[str], *, max_new_tokens: int) -> Sequence[str]:
        """Return one greedy completion for each prompt."""
        ...


class Embedder(Protocol):
    """Maps texts to vectors, for diversity measures and feature wrappers."""

    def embed(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """Return unit vectors of shape (len(texts), dimension)."""
        ...


Progress = Callable[[str, int, int], None]
"""Called as ``progress(phase, done, total)`` while something long runs."""
