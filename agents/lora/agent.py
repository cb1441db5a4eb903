"""A language model at a seat: messages in, text with its tokens out."""

from collections.abc import Sequence
from dataclasses import dataclass

from agents.lora.backend import Backend
from agents.lora.chat import ChatCodec
from redteam_env.protocols import Reply, TurnRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAgent:
    """Plays with named weights.

    Attributes:
        backend: Samples the completions.
        weights: The weights' name.
        codec: The tokenizer with its chat template.
        max_new_tokens: Longest completion, in tokens.
        temperature: 0 is greedy.
    """

    backend: Backend
    weights: str
    codec: ChatCodec
    max_new_tokens: int
    temperature: float

    def act(self, requests: Sequence[TurnRequest]) -> list[Reply]:
        """Answer every request, in order."""
        generations = self.backend.generate(
            self.weights,
            [self.codec.encode(request.messages, request.prefill) for request in requests],
            [request.path for request in requests],
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
        )
        return [
            Reply(text=self.codec.decode(generation.completion_ids), generation=generation)
            for generation in generations
        ]
