"""Versions of weights for engines beside the trainer: written once, handed over, and proved.

An engine that goes on sampling from old weights looks healthy and ruins a run: vLLM keeps the old
tensors when an adapter is loaded again under its id, and old keys and values when it is loaded again
under its name and path (vLLM issues 42125 and 34186). So a version is written into a directory of its
own under a name and an id that were never used before, and after each hand-over a probe is sampled:
its log-probabilities must equal the trainer's, and must have moved if the trainer's have.

An engine holds several adapters but one whole model. Where whole models are trained, the one that is to
move next is read from its directory into the place of the one before, and proved again: an engine takes
the memory of one model, whatever is trained.
"""

import contextlib
import itertools
import shutil
import tempfile
import threading
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch

from agents.lora.chat import ChatCodec
from agents.lora.hf import Sampled, completion_logprobs, opening_logprobs
from agents.lora.store import Store
from redteam_env.game import Generation, RedteamError
from redteam_env.protocols import BASE
from redteam_env.randomness import Address, integer_seed
from redteam_env.utils.threads import Background

PROBE = (
    "Early in the morning the ferry leaves the harbour with two cars, a tractor and a school class. "
    "The captain counts them twice, writes eleven into the book, and asks who has lost a red glove. "
    "Nobody answers; a dog barks. Past the lighthouse the wind turns north, tea is poured below, and "
    "somebody explains how knots, miles and minutes belong together, which takes until the pier."
)
_PROBE_LENGTHS = (16, 160)
"""Tokens of the probe's prompts: a short one, and one that fills blocks of keys and values."""
_PROBE_TOKENS = 8
_NUMBERS = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Limits:
    """How closely an engine must agree with the trainer; nats a token, on average over the probe.

    Attributes:
        gap: Most that the two may differ. Rounding on the way through the model is far below in
            float32; in bfloat16 two programs differ by hundredths.
        shift: Least change of the trainer's log-probabilities between two versions that the engine's
            must show, too.
    """

    gap: float
    shift: float


LIMITS = {torch.float32: Limits(5e-3, 1e-5), torch.bfloat16: Limits(0.15, 2e-2)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One version of named weights as an engine gets it: an adapter, or a whole model.

    Attributes:
        weights: The weights' name in the trainer.
        version: Their version.
        name: A name that no other version has or will have, on any engine.
        number: A number that no other version of this process has.
        directory: Where it lies, in PEFT's or transformers' format; never written to again.
        whole: Whether it is a whole model, which takes the place of the one before.
    """

    weights: str
    version: int
    name: str
    number: int
    directory: Path
    whole: bool = False


class Engine(Protocol):
    """A program that samples completions: one engine in this process, or one server."""

    @property
    def name(self) -> str:
        """What errors call it."""
        ...

    def complete(
        self,
        version: Published | None,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[int],
        *,
        max_new_tokens: int,
        temperature: float,
    ) -> list[Sampled]:
        """Sample one completion for each prompt, all with one version, or all with the base.

        A whole model is the one that was added last.
        """
        ...

    def add(self, version: Published) -> None:
        """Load an adapter, or a whole model in the place of the one that is there.

        Raises:
            RedteamError: If it cannot; the text names the cure.
        """
        ...

    def remove(self, version: Published) -> None:
        """Forget an adapter that no request uses any more; a whole model goes when the next one comes."""
        ...

    def rest(self) -> None:
        """Give memory free until the next request."""
        ...

    def close(self) -> None:
        """Stop, or let go."""
        ...


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a probe showed: what an engine sampled, and the trainer's log-probabilities of that."""

    generations: list[Generation]
    trainer: np.ndarray[Any, Any]

    @property
    def ids(self) -> list[tuple[int, ...]]:
        """The tokens that were sampled."""
        return [g.completion_ids for g in self.generations]

    @property
    def engine(self) -> np.ndarray[Any, Any]:
        """The engine's log-probabilities of all tokens, row after row."""
        return np.concatenate([g.logprobs for g in self.generations])


class EngineBackend:
    """Samples with engines that are given each new version of trained weights.

    One call samples from one version only and no two calls run at once: on its CPU backend vLLM
    silently gives rows of the base an adapter if they share a batch with rows that have one (vLLM
    pull requests 48421 and 49656). Rows are spread over all engines.

    Args:
        engines: At least one; all play the same base.
        store: The trainer's weights.
        codec: Its tokenizer.
        temperature: The temperature to be trained at; the probe is sampled at it.
        max_new_tokens: Longest completion that the engines take.
        directory: Where versions are written; by default a temporary directory.
        whole: Whether the weights are whole models.

    Raises:
        RedteamError: If an engine plays another base than the trainer, or the directory cannot be
            written to or has no room.
    """

    exact: ClassVar[bool] = False

    def __init__(
        self,
        engines: Sequence[Engine],
        store: Store,
        codec: ChatCodec,
        *,
        temperature: float,
        max_new_tokens: int,
        directory: str | None = None,
        whole: bool = False,
    ) -> None:
        self._engines = tuple(engines)
        self._store = store
        self._codec = codec
        self._temperature = temperature
        self._limits = LIMITS[store.base.model.dtype]
        self._probe_tokens = min(_PROBE_TOKENS, max_new_tokens)
        text = codec.content_ids(PROBE)
        lengths = {min(n, codec.max_prompt_tokens, len(text)) for n in _PROBE_LENGTHS}
        self._probe_prompts = [tuple(text[:n]) for n in sorted(lengths)]
        self._root = _new_directory(directory)
        if whole:
            _check_room(self._root, store)
        self._whole = whole
        self._published: dict[str, Published] = {}
        self._loaded: list[Published] = []
        self._playing: Published | None = None
        self._shown: dict[tuple[int, str], _Shown] = {}
        self._lock = threading.RLock()
        self._end = weakref.finalize(self, _clean_up, self._engines, self._loaded, self._root)
        for engine in self._engines:
            shown = self._probe(engine, None)
            if whole and self._gap(shown) > self._limits.gap:
                self.publish(BASE)  # a server may still hold what the run before left there
                break
            self._check_agreement(engine, BASE, shown)

    def generate(
        self,
        weights: str,
        prompts: Sequence[tuple[int, ...]],
        paths: Sequence[Address],
        *,
        max_new_tokens: int,
        temperature: float,
    ) -> list[Generation]:
        """Sample one completion for each prompt from the version published last."""
        with self._lock:
            if weights not in self._published and (self._whole or weights != BASE):
                self.publish(weights)
            published = self._published.get(weights)
            if self._whole and published is not None and published is not self._playing:
                self._put(published)
            version = published.version if published else self._store.versions[BASE]
            seeds = [integer_seed(path) for path in paths]
            sampled = self._spread(
                published, prompts, seeds, max_new_tokens=max_new_tokens, temperature=temperature
            )
        return _generations(weights, version, prompts, sampled, temperature)

    def opening_logprobs(
        self, weights: str, prompts: Sequence[tuple[int, ...]], tokens: Sequence[int]
    ) -> list[float]:
        """Return the log-probability that a completion begins with one of some tokens."""
        with self._store.sampling(weights) as model:
            return opening_logprobs(model, prompts, tokens, pad_id=self._codec.pad_id)

    def publish(self, weights: str) -> None:
        """Write the current version of named weights, give it to every engine and prove it there.

        The version before is forgotten: no request is under way, and none will ask for it again.

        Args:
            weights: Their name in the store.

        Raises:
            RedteamError: If an engine does not take it, or plays something else.
        """
        with self._lock:
            # what fails below must not leave the old version to be sampled from
            old = self._published.pop(weights, None)
            number, version = next(_NUMBERS), self._store.versions[weights]
            name = f"{weights}@{version}-{self._root.name}-{number}"
            published = Published(
                weights=weights,
                version=version,
                name=name,
                number=number,
                directory=self._root / name,
                whole=self._whole,
            )
            self._store.save(weights, published.directory)
            _let_read(published.directory)
            self._loaded.append(published)
            self._put(published, new=True)
            self._published[weights] = published
            if old:
                for engine in self._engines:
                    engine.remove(old)
                self._loaded.remove(old)
                shutil.rmtree(old.directory, ignore_errors=True)

    def _put(self, published: Published, *, new: bool = False) -> None:
        """Give every engine a version and prove it there."""
        self._playing = None
        for k, engine in enumerate(self._engines):
            engine.add(published)
            shown = self._probe(engine, published)
            if new:
                before = self._shown.get((k, published.weights))
                # what moves too little to be seen is added up over versions until it can be
                if self._check_moved(engine, published, before, shown):
                    self._shown[k, published.weights] = shown
            self._check_agreement(engine, published.weights, shown)
        self._playing = published

    def rest(self) -> None:
        """Let every engine give memory free."""
        with self._lock:
            for engine in self._engines:
                engine.rest()

    def close(self) -> None:
        """Take all versions off the engines, let go of these, and remove what was written."""
        with self._lock:
            self._end()

    def _spread(
        self,
        version: Published | None,
        prompts: Sequence[tuple[int, ...]],
        seeds: Sequence[int],
        **how: Any,
    ) -> list[Sampled]:
        count = min(len(self._engines), len(prompts))
        found: list[Sampled | None] = [None] * len(prompts)

        def ask(k: int) -> None:
            own = slice(k, None, count)
            found[own] = self._engines[k].complete(version, prompts[own], seeds[own], **how)

        if count == 1:
            ask(0)
        elif count:
            with ExitStack() as stack:
                hands: list[Background[None]] = [
                    stack.enter_context(Background(f"engine-{k}")) for k in range(count)
                ]
                for k, hand in enumerate(hands):
                    hand.submit(ask, k)
                for hand in hands:
                    hand.results()
        return [row for row in found if row is not None]

    def _probe(self, engine: Engine, published: Published | None) -> _Shown:
        sampled = engine.complete(
            published,
            self._probe_prompts,
            [integer_seed(("probe", k)) for k in range(len(self._probe_prompts))],
            max_new_tokens=self._probe_tokens,
            temperature=self._temperature,
        )
        words = self._store.base.model.get_input_embeddings().num_embeddings
        if not all(0 <= token < words for row in sampled for token in row.ids):
            raise RedteamError(
                f"{engine.name} serves another base than the trainer's {self._store.base.spec!r}: it "
                f"samples tokens beyond that one's vocabulary of {words}. Serve that model."
            )
        weights, version = (published.weights, published.version) if published else (BASE, 0)
        found = _generations(weights, version, self._probe_prompts, sampled, self._temperature)
        return _Shown(generations=found, trainer=self._own(weights, found))

    @torch.no_grad()
    def _own(self, weights: str, generations: Sequence[Generation]) -> np.ndarray[Any, Any]:
        """Return the trainer's log-probabilities of all tokens, row after row."""
        with self._store.sampling(weights) as model:
            found = completion_logprobs(model, generations, pad_id=self._codec.pad_id)
        return found.logprobs[found.mask].double().cpu().numpy()

    def _check_moved(
        self, engine: Engine, published: Published, before: _Shown | None, now: _Shown
    ) -> bool:
        """Refuse an engine whose log-probabilities stand still while the trainer's have moved.

        Returns:
            Whether later versions are to be compared with this one: false while the trainer's have
            moved too little since the one before to tell.
        """
        if before is None or before.ids != now.ids:
            return True
        moved = _mean_change(now.trainer, before.trainer)
        shown = _mean_change(now.engine, before.engine)
        if moved > self._limits.shift and shown < moved / 2:
            raise RedteamError(
                f"{engine.name} still plays an older version of {published.weights!r}: version "
                f"{published.version} moved the probe's log-probabilities by {moved:.3g} nats a token in "
                f"the trainer and by {shown:.3g} there. Training stopped; the last checkpoint is good."
            )
        return moved > self._limits.shift

    def _check_agreement(self, engine: Engine, weights: str, shown: _Shown) -> None:
        """Refuse an engine whose log-probabilities are not the trainer's."""
        gap = self._gap(shown)
        if gap <= self._limits.gap:
            return
        base, dtype = self._store.base, str(self._store.base.model.dtype).removeprefix("torch.")
        differ = (
            f"log-probabilities of the probe differ by {gap:.3g} nats a token, {self._limits.gap:g} "
            f"are allowed in {dtype}"
        )
        if weights != BASE:
            raise RedteamError(
                f"{engine.name} plays other weights than version {self._store.versions[weights]} of "
                f"{weights!r}: {differ}. Training stopped; the last checkpoint is good."
            )
        if self._temperature not in (0, 1) and self._is_raw(shown):
            raise RedteamError(
                f"{engine.name} returns log-probabilities at temperature 1 for tokens sampled at "
                f"{self._temperature:g}; start it with --logprobs-mode processed_logprobs."
            )
        raise RedteamError(
            f"{engine.name} serves another base than the trainer's {base.spec!r}: {differ}. Serve that "
            f"model with --dtype {dtype}."
        )

    def _gap(self, shown: _Shown) -> float:
        """Return how far an engine is from the trainer, nats a token."""
        return _mean_change(shown.engine, shown.trainer)

    def _is_raw(self, shown: _Shown) -> bool:
        unscaled = [replace(g, temperature=1.0) for g in shown.generations]
        return _mean_change(shown.engine, self._own(BASE, unscaled)) <= self._limits.gap


def _generations(
    weights: str,
    version: int,
    prompts: Sequence[tuple[int, ...]],
    sampled: Sequence[Sampled],
    temperature: float,
) -> list[Generation]:
    return [
        Generation(
            prompt_ids=prompt,
            completion_ids=row.ids,
            logprobs=row.logprobs,
            adapter=weights,
            version=version,
            temperature=temperature,
            finished=row.finished,
        )
        for prompt, row in zip(prompts, sampled, strict=True)
    ]


def _mean_change(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    return float(np.abs(a - b).mean())


def _new_directory(directory: str | None) -> Path:
    """Return a fresh directory for one process's versions, which servers may read."""
    try:
        if directory is not None:
            Path(directory).expanduser().mkdir(parents=True, exist_ok=True)
        place = str(Path(directory).expanduser().resolve()) if directory else None
        root = Path(tempfile.mkdtemp(prefix="weights-", dir=place))
        root.chmod(0o755)
    except OSError as error:
        raise RedteamError(
            f"No weights can be written below {directory or tempfile.gettempdir()!r}: {error}. Give "
            "another directory as --adapter-dir."
        ) from error
    return root


def _check_room(root: Path, store: Store) -> None:
    """Refuse a disk that cannot hold whole models: the newest of each, and one before it goes."""
    copies = len(set(store.versions) - {BASE}) + 1
    needed = copies * sum(t.numel() * t.element_size() for t in store.base.model.parameters())
    free = shutil.disk_usage(root).free
    if free < needed:
        shutil.rmtree(root, ignore_errors=True)
        raise RedteamError(
            f"{copies} whole models for the engine to read take {needed:,} bytes, and the disk of "
            f"{str(root.parent)!r} has {free:,} free. Give a directory with more room as --adapter-dir."
        )


def _let_read(directory: Path) -> None:
    """Let servers that run as another user read a version; safetensors writes for its owner only."""
    for place in (directory, *directory.iterdir()):
        place.chmod(0o755 if place.is_dir() else 0o644)


def _clean_up(engines: Sequence[Engine], loaded: Sequence[Published], root: Path) -> None:
    for engine in engines:
        with contextlib.suppress(RedteamError):  # a server that is gone holds nothing
            for version in loaded:
                engine.remove(version)
        engine.close()
    shutil.rmtree(root, ignore_errors=True)
