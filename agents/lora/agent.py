"""A language model at a seat: messages in, text with its tokens out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agents.lora.chat import ChatCodec
from agents.lora.hf import sample
from agents.lora.store import Store
from redteam_env.game import Generation
from redteam_env.protocols import Reply, TurnRequest
from redteam_env.randomness import generator


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAgent:
    """Plays with named weights of a store.

    Attributes:
        store: Where the weights are.
        weights: Their name there.
        codec: The tokenizer with its chat template.
        max_new_tokens: Longest completion, in tokens.
        temperature: 0 is greedy.
        batch: Sequences generated together.
    """

    store: Store
    weights: str
    codec: ChatCodec
    max_new_tokens: int
    temperature: float
    batch: int

    def act(self, requests: Sequence[TurnRequest]) -> list[Reply]:
        """Answer every request, in order; prompts of similar length are generated together."""
        prompts = [self.codec.encode(request.messages, request.prefill) for request in requests]
        order = sorted(range(len(requests)), key=lambda k: len(prompts[k]))
        replies: dict[int, Reply] = {}
        for start in range(0, len(order), self.batch):
            chunk = order[start : start + self.batch]
            generations = self._generate([prompts[k] for k in chunk], [requests[k] for k in chunk])
            for k, generation in zip(chunk, generations, strict=True):
                text = self.codec.decode(generation.completion_ids)
                replies[k] = Reply(text=text, generation=generation)
        return [replies[k] for k in range(len(requests))]

    def _generate(
        self, prompts: Sequence[tuple[int, ...]], requests: Sequence[TurnRequest]
    ) -> list[Generation]:
        draws = np.stack([generator(r.path).random(self.max_new_tokens) for r in requests])
        with self.store.sampling(self.weights) as model:
            sampled = sample(
                model,
                prompts,
                draws,
                stop_ids=sorted(self.codec.stop_ids),
                pad_id=self.codec.pad_id,
                temperature=self.temperature,
            )
        return [
            Generation(
                prompt_ids=prompt,
                completion_ids=row.ids,
                logprobs=row.logprobs,
                adapter=self.weights,
                version=self.store.versions[self.weights],
                temperature=self.temperature,
                finished=row.finished,
            )
            for prompt, row in zip(prompts, sampled, strict=True)
        ]
