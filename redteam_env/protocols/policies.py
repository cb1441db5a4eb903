"""What is trained: policies as an algorithm, a critic and a league see them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from redteam_env.game import Generation
from redteam_env.protocols.agents import Agent
from redteam_env.randomness import Address

BASE = "base"
"""The name of the frozen base, where weights are named."""

Derivatives = Literal["once", "twice"]
"""How often log-probabilities can be differentiated."""


@runtime_checkable
class TrainablePolicy(Protocol):
    """The policies of both roles, as an algorithm sees them.

    Tensors pass through as ``Any``: this package names no deep-learning framework.

    The log-probabilities that agents sample with are those of :meth:`logprobs`, without dropout, up to
    the rounding of float32: 1e-4 nats a token at most. A policy that does not keep this, because it
    samples with another program or computes in bfloat16, has an attribute ``exact_sampler = False``:
    algorithms then take old log-probabilities from :meth:`logprobs` without gradients, which costs a
    pass more and has no dropout either, and log how far the two are apart.

    A ``close()``, if there is one, is called by whoever made the policy, when it is done.

    What a policy's entry point names (``redteam_env.policies``, ``--policy NAME``) is called as
    ``factory(config=..., seed=...)`` and carries the class of its config, a frozen dataclass with
    defaults, as ``factory.Config``. Of that config a run reads, where they are there, ``weights`` (the
    name of the weights behind each role, :data:`BASE` where they are frozen), ``arrangement`` (a word
    for it), ``temperature``, ``generation_batch``, ``max_new_tokens`` and ``model`` (the base, for a named
    opponent). For its runs to be played by ``evaluate`` and ``crossplay``, :meth:`save` writes a card that
    names the registered agent which plays them (:func:`redteam_env.runs.write_card`).
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

    def logprobs(
        self,
        role: str,
        generations: Sequence[Generation],
        *,
        with_entropy: bool = False,
        with_distribution: bool = False,
        differentiable: Derivatives = "once",
    ) -> Any:
        """Return log-probabilities of completion tokens, with gradients to the role's weights.

        Args:
            role: The role.
            generations: Rows with one temperature.
            with_entropy: Whether the entropy is to have gradients, as for an entropy bonus. Without,
                it is there to be logged, and a backward pass through it raises. It costs no second
                pass and no tensor as large as the logits.
            with_distribution: Whether to return the log-probabilities of all words, with gradients,
                as for an exact KL or distillation. Needs several tensors of rows x longest x words
                numbers: 8 rows of 128 tokens over 151,936 words take 0.6 GiB each.
            differentiable: ``"once"`` is for one backward pass: a loss may be made of all that is
                returned, but a second backward pass, even of another loss, and ``create_graph=True``
                either work or raise. With ``"twice"`` all of it works: several passes (with
                ``retain_graph=True``, as everywhere in torch), gradients of gradients,
                Hessian-vector products. That takes more time and memory: no fused operations, no
                gradient checkpoints, and several tensors as large as the logits.

        Returns:
            An object with ``logprobs`` and ``entropy`` (float tensors) and ``mask`` (bool tensor),
            each of shape (len(generations), longest completion), and with ``distribution`` (float
            tensor, with a last dimension for the words), if it was asked for. Numbers are 0 where the
            mask is false.

        Raises:
            RedteamError: In the backward pass, if more is asked of it than was asked for here.
        """
        ...

    def reference_logprobs(
        self, role: str, generations: Sequence[Generation], *, with_distribution: bool = False
    ) -> Any:
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
        """Return a supervised example as tokens (log-probabilities 0, version 0).

        It is not ``finished`` if it was cut to the longest completion.
        """
        ...

    def publish(self, weights: str) -> int:
        """Announce that named weights changed; return their new version."""
        ...

    def agent(self, role: str, *, temperature: float | None = None) -> Agent:
        """Return the agent that plays a role with the current weights.

        Args:
            role: Its role.
            temperature: Its sampling temperature; by default the policy's own, with which it is
                trained. Measuring may want another, such as 0 for a defender.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """Return what identifies the base, and parameter counts, as plain JSON."""
        ...

    def save(self, directory: Path) -> None:
        """Write all weights into a new directory, without pickle."""
        ...

    def restore(self, directory: Path) -> None:
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
class LeaguePolicy(Protocol):
    """What a policy offers besides, if it is to play against its past or to start from saved weights.

    A saved version is a directory that never changes again. Many of them cost no memory: an agent
    reads its version when it is to move.
    """

    def version(self, weights: str) -> int:
        """Return the version of named weights, as generations carry it."""
        ...

    def write_weights(self, weights: str, directory: Path) -> None:
        """Write named weights, as they are now, into a new directory."""
        ...

    def read_weights(self, weights: str, directory: Path) -> None:
        """Put saved weights in the place of named ones, under a new version.

        Raises:
            RedteamError: If they belong to another base or have another shape.
        """
        ...

    def breed_weights(
        self, weights: str, parents: Sequence[Path], *, noise: float, path: Address
    ) -> None:
        """Put a child of saved weights in the place of named ones, under a new version.

        Args:
            weights: The name.
            parents: One or more directories; each layer comes from one of them, drawn by chance.
            noise: Standard deviation of what is added to each number, in units of its tensor's root
                mean square.
            path: Address of the randomness.
        """
        ...

    def past_agent(self, role: str, directory: Path, *, weights: str, version: int) -> Agent:
        """Return the agent that plays a role with saved weights.

        Args:
            role: The role.
            directory: Where they are.
            weights: Their name, for the records of games.
            version: Their version, for the same.
        """
        ...

    def start_from(self, directory: Path) -> None:
        """Take the weights of every trained role from a run, a checkpoint or one adapter.

        Raises:
            RedteamError: If there are none for a role, or they belong to another base or have another
                shape.
        """
        ...


@runtime_checkable
class AnchoredPolicy(Protocol):
    """What a policy offers besides, if log-probabilities are to be compared with an anchor's.

    The anchor takes the place of the frozen reference in :meth:`TrainablePolicy.reference_logprobs`.
    It never changes, and it is saved and restored with the weights.
    """

    def anchor_at(self, directory: Path | None) -> None:
        """Keep a frozen copy of weights as the reference of every trained role.

        Args:
            directory: A run, a checkpoint or one adapter; ``None`` for the weights as they are now.

        Raises:
            RedteamError: If there are none for a role, or they belong to another base.
        """
        ...
