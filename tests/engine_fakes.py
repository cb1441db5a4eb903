"""Engines for tests of publishing: a second model that is loaded from what was published."""

from dataclasses import dataclass, field

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from agents.lora.hf import sample
from agents.lora.store import AdapterStore
from agents.models import LoadedModel
from redteam_env.game import RedteamError
from redteam_env.randomness import generator


@dataclass
class TwinEngine:
    """Samples as an engine would, from adapters, or one whole model, that it read from their directories.

    Attributes:
        base: A copy of the base of its own.
        stop_ids: Ids that end a completion.
        off: Factor on the weights that are loaded.
        stale: Keep the first version of each adapter for ever, as vLLM does for a reused id, or the
            first whole model.
        raw: Return log-probabilities at temperature 1.
        calls: Name of what each call sampled from, and how many rows.
    """

    base: LoadedModel
    stop_ids: tuple[int, ...]
    name: str = "the twin"
    off: float = 1.0
    stale: bool = False
    raw: bool = False
    calls: list[tuple[str, int]] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    rests: int = 0
    closed: bool = False

    def __post_init__(self):
        self.store = AdapterStore(self.base)
        self._first = {}

    def complete(self, version, prompts, seeds, *, max_new_tokens, temperature):
        if version and version.name not in self.held:
            raise RedteamError(f"{version.name} is not there.")
        name = "base" if version is None else version.name
        self.calls.append((name, len(prompts)))
        plain = version is None or version.whole
        name = "base" if plain else self._first.get(version.weights, name)
        draws = np.stack([generator((seed,)).random(max_new_tokens) for seed in seeds])
        options = {"stop_ids": self.stop_ids, "pad_id": 0}
        with self.store.sampling(name) as model:
            found = sample(model, prompts, draws, temperature=temperature, **options)
            if not self.raw:
                return found
            result = []
            for prompt, row in zip(prompts, found, strict=True):
                ids = torch.tensor([[*prompt, *row.ids]])
                with torch.no_grad():
                    scores = model(input_ids=ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
                logprobs = scores.gather(-1, torch.tensor(row.ids)[:, None]).squeeze(-1).tolist()
                result.append(
                    type(row)(ids=row.ids, logprobs=tuple(logprobs), finished=row.finished)
                )
            return result

    def add(self, adapter):
        if adapter.whole:
            self.held = [adapter.name]
            self.put(adapter.directory)
            return
        self.store.load(adapter.name, adapter.directory)
        with torch.no_grad():
            for tensor in self.store.parameters(adapter.name):
                tensor.mul_(self.off)
        self.held.append(adapter.name)
        if self.stale:
            self._first.setdefault(adapter.weights, adapter.name)

    @torch.no_grad()
    def put(self, directory):
        """Read a whole model into the place of the one that is there."""
        if not self.stale:
            found = AutoModelForCausalLM.from_pretrained(directory).state_dict()
            for key, tensor in self.base.model.state_dict().items():
                tensor.copy_(found[key] * self.off)

    def remove(self, adapter):
        if adapter.name in self.held and not adapter.whole:
            self.held.remove(adapter.name)

    def rest(self):
        self.rests += 1

    def close(self):
        self.closed = True
