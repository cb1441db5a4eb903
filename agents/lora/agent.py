"""A language model at a seat: messages in, text with its tokens out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from agents.lora.backend import Backend
from agents.lora.chat import ChatCodec
from redteam_env.game import Generation, RedteamError
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
        generations = self._generate(requests, self._prompts(requests), self.max_new_tokens)
        spoken = [
            self.codec.read(generation.completion_ids, request.prefill)
            for generation, request in zip(generations, requests, strict=True)
        ]
        return [
            Reply(text=x.text, thought=x.thought, truncated=not x.finished, generation=generation)
            for x, generation in zip(spoken, generations, strict=True)
        ]

    def drafts(self, requests: Sequence[TurnRequest], *, max_new_tokens: int) -> list[Generation]:
        """Return what it would answer with another token limit, as far as its context has room."""
        prompts = self._prompts(requests)
        # a prompt as long as it may be leaves room for max_new_tokens; a shorter one leaves more
        room = self.codec.max_prompt_tokens + self.max_new_tokens - max(map(len, prompts))
        return self._generate(requests, prompts, min(max_new_tokens, room))

    def _prompts(self, requests: Sequence[TurnRequest]) -> list[tuple[int, ...]]:
        return [self.codec.encode(request.messages, request.prefill) for request in requests]

    def _generate(
        self,
        requests: Sequence[TurnRequest],
        prompts: Sequence[tuple[int, ...]],
        max_new_tokens: int,
    ) -> list[Generation]:
        return self.backend.generate(
            self.weights,
            prompts,
            [request.path for request in requests],
            max_new_tokens=max_new_tokens,
            temperature=self.temperature,
        )

    def log_odds(self, requests: Sequence[TurnRequest], texts: Sequence[str]) -> list[float]:
        """Return the log-odds that the answer begins with the first token of one of some texts.

        Raises:
            RedteamError: If a text has no token.
        """
        openings = {text: self.codec.content_ids(text)[:1] for text in texts}
        for text, ids in openings.items():
            if not ids:
                raise RedteamError(
                    f"The text {text!r} has no token, so no answer can begin with it."
                )
        logprobs = self.backend.opening_logprobs(
            self.weights,
            [self.codec.encode(x.messages, x.prefill, answer=True) for x in requests],
            sorted({token for ids in openings.values() for token in ids}),
        )
        return [_log_odds(value) for value in logprobs]


def _log_odds(log_p: float) -> float:
    log_p = min(log_p, -1e-12)  # rounding may put it above 0
    return log_p - math.log(-math.expm1(log_p))
