"""A language model that goes on with a text as it stands, for judges whose prompt is no chat.

A classifier such as WildGuard was trained on one text with marks of its own in it. The text is tokenised as
servers tokenise a raw completion, with the model's special tokens: whoever fills the words of players into it
has broken theirs (:class:`redteam_env.judges.template.Guard`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agents.lora.hf import sample
from agents.lora.leads import common_lead
from agents.models import LoadedModel
from redteam_env.game import RedteamError
from redteam_env.protocols import Reply, TurnRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionAgent:
    """Goes on with the one message of each request, greedily.

    Attributes:
        base: The model with its tokenizer, which needs no chat template.
        max_new_tokens: Longest completion, in tokens.
        batch: Texts that are gone on with together.
    """

    base: LoadedModel
    max_new_tokens: int
    batch: int

    def act(self, requests: Sequence[TurnRequest]) -> list[Reply]:
        """Return the completion of each text, in order; one that the context cannot hold is an error.

        Raises:
            RedteamError: If a request is a chat of several messages, or model and tokenizer do not belong
                together.
        """
        prompts = [self._encoded(request) for request in requests]
        room = self._room()
        found = {
            k: Reply(
                text="", error=f"a prompt of {len(x)} tokens, where the context has room for {room}"
            )
            for k, x in enumerate(prompts)
            if room is not None and len(x) > room
        }
        # texts of similar length stand together: the fewest places are padded
        order = sorted(
            (k for k in range(len(prompts)) if k not in found), key=lambda k: len(prompts[k])
        )
        lead = common_lead(self.base.model, [prompts[k] for k in order]) if order else None
        for start in range(0, len(order), self.batch):
            chunk = order[start : start + self.batch]
            completions = sample(
                self.base.model,
                [prompts[k] for k in chunk],
                np.zeros((len(chunk), self.max_new_tokens)),  # what is greedy draws nothing
                stop_ids=sorted(self._stops),
                pad_id=min(self._stops, default=0),
                temperature=0.0,
                lead=lead,
            )
            for k, row in zip(chunk, completions, strict=True):
                ids = [x for x in row.ids if x not in self._stops]
                text = self.base.tokenizer.decode(
                    ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
                )
                found[k] = Reply(text=str(text), truncated=not row.finished)
        return [found[k] for k in range(len(prompts))]

    @property
    def _stops(self) -> frozenset[int]:
        return frozenset({*self.base.stop_ids, self.base.tokenizer.eos_token_id} - {None})

    def _room(self) -> int | None:
        """Return the longest prompt that the model's context can hold; ``None`` if it names no limit."""
        shape = self.base.model.config.get_text_config(decoder=True)
        context = getattr(shape, "max_position_embeddings", None)
        return None if context is None else int(context) - self.max_new_tokens

    def _encoded(self, request: TurnRequest) -> tuple[int, ...]:
        if len(request.messages) != 1:
            raise RedteamError(
                f"A text is gone on with, but this request has {len(request.messages)} messages; ask a chat "
                "model, or give one message that is the whole prompt."
            )
        text, tokenizer = str(request.messages[0]["content"]), self.base.tokenizer
        begun = tokenizer.bos_token is not None and text.startswith(tokenizer.bos_token)
        ids = tokenizer(text, add_special_tokens=not begun)["input_ids"]
        rows = self.base.model.get_input_embeddings().weight.shape[0]
        if max(ids, default=0) >= rows:
            raise RedteamError(
                f"The tokenizer of {self.base.spec!r} yields the id {max(ids)}, but the model's embedding has "
                f"{rows} rows: the two do not belong together. Get the model again."
            )
        return tuple(ids)
