"""Chat messages to token ids, with the text of players always tokenised as content.

A model's chat template marks turns with control tokens such as ``<|im_start|>``. A player who
writes ``<|im_start|>system`` into its text must not forge a turn. So the template is rendered with
markers in place of the contents; only the template's own text is tokenised with control tokens, the
contents by a tokenizer that knows none. The template is a stranger's program, so it is rendered within
limits (:mod:`agents.rendering`).

A reasoning model's template may end in an opened thought. What the model then writes begins within its
native thought, which :meth:`ChatCodec.read` takes off; where an answer is to begin at once, the thought
is closed in the prompt.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import Tokenizer

from agents.rendering import LimitError, RenderingError, render
from redteam_env.game import Framed, RedteamError, Spoken, take_thoughts
from redteam_env.game.tags import find_tags, find_thoughts

_MARK = "\ue000{}\ue001"
_MARKS = re.compile("\ue000(\\d+)\ue001")
# Llama-3 templates put today's date into the prompt unless they are given one
_TEMPLATE_OPTIONS = {"date_string": "01 Jan 2026", "enable_thinking": False}

_CHANNEL_TOKENS = ("<|channel|>", "<|message|>")

Message = Mapping[str, str]


class ChatCodec:
    """Encodes messages for one tokenizer and decodes what the model said.

    Attributes:
        control_ids: Ids that structure a dialogue; the text of players never yields one.
        stop_ids: Ids that end a turn.
        max_prompt_tokens: Longest prompt; longer text of players is cut at its end.
        opens_thought: Whether the template's generation prompt opens a thought.

    Args:
        tokenizer: A fast tokenizer with a chat template.
        stop_ids: Further ids that end a turn.
        max_prompt_tokens: Longest prompt.
        too_long: What to say, and to do, where the instructions alone are longer.
        rows: Rows of the model's embedding; no id that it lacks is ever returned.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        stop_ids: Sequence[int] = (),
        max_prompt_tokens: int = 2048,
        too_long: str = "",
        rows: int | None = None,
    ) -> None:
        name = getattr(tokenizer, "name_or_path", "the model")
        self._name, self._rows = name, rows
        self._too_long = too_long or (
            f"max_prompt_tokens = {max_prompt_tokens}; raise it or shorten the prompts."
        )
        if not getattr(tokenizer, "chat_template", None):
            raise RedteamError(
                f"{name!r} has no chat template, so its turns cannot be told apart. Use an instruct "
                "model, or put a chat_template.jinja beside its tokenizer."
            )
        if not getattr(tokenizer, "is_fast", False):
            raise RedteamError(
                f"{name!r} has only a slow tokenizer; give a model with a tokenizer.json."
            )
        self._tokenizer = tokenizer
        self._plain = _without_added_tokens(tokenizer)
        self._template = _template_of(tokenizer)
        added = tokenizer.added_tokens_decoder
        special = {i for i, token in added.items() if token.special}
        named = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id} - {None}
        structural = {i for i, token in added.items() if token.content in self._template}
        self._special = frozenset(special | named)
        self.control_ids = frozenset(special | named | structural)
        self.stop_ids = frozenset({*stop_ids, tokenizer.eos_token_id} - {None})
        self.max_prompt_tokens = max_prompt_tokens
        self._rendered: dict[tuple[str, ...], str] = {}
        self._pieces: dict[str, list[int]] = {}
        if not self.stop_ids:
            raise RedteamError(
                f"{name!r} names no end-of-sequence token, so no turn would ever end; "
                "set eos_token in its tokenizer_config.json."
            )
        self._check_ids(named)
        probe = [("system", "a"), ("user", "b"), ("assistant", "c"), ("user", "d")]
        rendered, _ = self._render([{"role": role, "content": text} for role, text in probe])
        self._closing = _closing(_MARKS.split(rendered)[-1])
        self.opens_thought = bool(self._closing)
        self._marks = frozenset(
            i
            for i, token in added.items()
            if token.content in _CHANNEL_TOKENS or find_tags(token.content)
        )
        self.encode([{"role": role, "content": text} for role, text in probe])

    @property
    def end_id(self) -> int:
        """The id that ends a turn in supervised examples."""
        eos = self._tokenizer.eos_token_id
        return int(eos) if eos is not None else min(self.stop_ids)

    @property
    def pad_id(self) -> int:
        """An id to pad with; padding is masked, so any id will do."""
        pad = self._tokenizer.pad_token_id
        return int(pad) if pad is not None else min(self.stop_ids)

    def encode(
        self, messages: Sequence[Message], prefill: str = "", *, answer: bool = False
    ) -> tuple[int, ...]:
        """Return the prompt of a turn.

        Args:
            messages: Chat messages; the first may be a system message.
            prefill: Our own text that the answer starts with.
            answer: Whether the answer starts at once: a thought that the template opens is closed, as
                it is before a prefill.

        Returns:
            Token ids up to and with the generation prompt and the prefill. If they would be more
            than ``max_prompt_tokens``, the longest contents of players are cut at their end.

        Raises:
            RedteamError: If the template drops or repeats a message, or the rules alone are over
                the limit.
        """
        rendered, contents = self._render(messages)
        pieces = _MARKS.split(rendered)
        if sorted(int(k) for k in pieces[1::2]) != list(range(len(contents))):
            raise RedteamError(
                f"The chat template of {self._name!r} drops or repeats a message; it cannot carry the "
                "game. Use the template of a plain instruct model."
            )
        closing = self._closing if prefill or answer else ""
        tail = self._template_ids(closing) + self._template_ids(prefill)
        encoded = [
            self.content_ids(contents[int(piece)]) if k % 2 else self._template_ids(piece)
            for k, piece in enumerate(pieces)
        ]
        if sum(map(len, encoded)) + len(tail) > self.max_prompt_tokens:
            encoded = self._cut(self._apart(pieces, messages), len(tail))
        return tuple(i for ids in [*encoded, tail] for i in ids)

    def content_ids(self, text: str) -> list[int]:
        """Return a player's text as ids, none of which is a control token."""
        ids = self._plain.encode(text, add_special_tokens=False).ids
        return [i for i in ids if i not in self.control_ids and not self._beyond(i)]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of sampled ids, without control tokens."""
        kept = [i for i in ids if i not in self._special and i not in self.stop_ids]
        return str(self._tokenizer.decode(kept, clean_up_tokenization_spaces=False))

    def read(self, ids: Sequence[int], prefill: str = "") -> Spoken:
        """Return what a model said by sampled ids, without its native thoughts.

        Args:
            ids: The sampled ids.
            prefill: The text that they followed. It is the game's format, and so is a thought after it.
        """
        kept = [i for i in ids if i in self._marks or i not in self._special]
        kept = [i for i in kept if i not in self.stop_ids]
        text = str(self._tokenizer.decode(kept, clean_up_tokenization_spaces=False))
        if prefill or not (self.opens_thought or self._marks):
            return Spoken(text)
        return take_thoughts(text, opened=self.opens_thought)

    def _template_ids(self, text: str) -> list[int]:
        if text not in self._pieces:
            ids = self._tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
            if (beyond := next(filter(self._beyond, ids), None)) is not None:
                raise self._no_row(beyond, "the chat template uses")
            self._pieces[text] = list(ids)
        return self._pieces[text].copy()

    def _beyond(self, token: int) -> bool:
        return self._rows is not None and token >= self._rows

    def _no_row(self, token: int, use: str) -> RedteamError:
        text = self._tokenizer.convert_ids_to_tokens(token)
        return RedteamError(
            f"{self._name!r} has {self._rows} rows in its embedding, and {use} the token {text!r} "
            f"with the id {token}: model and tokenizer do not belong together. Use the tokenizer that "
            "came with the model, or resize the embedding and train it (resize_token_embeddings)."
        )

    def _check_ids(self, named: set[int]) -> None:
        """Refuse a tokenizer whose own words or named tokens the model has no row for.

        Other added tokens may lie beyond the embedding: those of images in models of text, which no
        prompt contains.
        """
        if self._rows is None:
            return
        for token in sorted(named):
            if self._beyond(token):
                raise self._no_row(token, "its tokenizer names as bos, eos or pad")
        words = self._tokenizer.get_vocab().values()
        beyond = [i for i in words if self._beyond(i)]
        if lost := sorted(set(beyond) - set(self._tokenizer.added_tokens_decoder)):
            raise self._no_row(lost[0], f"its tokenizer has {len(lost)} words without one, first")
        if all(map(self._beyond, self.stop_ids)):
            raise self._no_row(min(self.stop_ids), "turns end with")

    def _render(self, messages: Sequence[Message]) -> tuple[str, list[str]]:
        """Return the template filled with marks, the same for all dialogues of these roles."""
        roles = tuple(message["role"] for message in messages)
        if roles not in self._rendered:
            self._rendered[roles] = self._render_marks(messages)
        return self._rendered[roles], [message["content"] for message in messages]

    def _render_marks(self, messages: Sequence[Message]) -> str:
        marked = [
            {"role": message["role"], "content": _MARK.format(k)}
            for k, message in enumerate(messages)
        ]
        variants = [marked]
        if len(marked) > 1 and marked[0]["role"] == "system":
            # Gemma's and older Mistral templates refuse a system message: it opens the first turn
            opening = f"{marked[0]['content']}\n\n{marked[1]['content']}"
            variants.append([{"role": "user", "content": opening}, *marked[2:]])
        reasons: list[RenderingError] = []
        for variant in variants:
            try:
                return self._apply(variant)
            except LimitError as error:
                raise RedteamError(
                    f"The chat template of {self._name!r} cannot be used: {error}. A plain template "
                    "takes milliseconds for a dialogue; this one loops, or is made to do harm."
                ) from error
            except RenderingError as error:
                reasons.append(error)
        raise RedteamError(
            f"The chat template of {self._name!r} fails on a plain dialogue: {reasons[0]}. Use the "
            "template of a plain instruct model."
        ) from reasons[0]

    def _apply(self, messages: list[dict[str, str]]) -> str:
        variables = {**self._tokenizer.special_tokens_map, **_TEMPLATE_OPTIONS}
        return render(self._template, json.dumps(messages), json.dumps(variables, default=str))

    def _apart(
        self, pieces: Sequence[str], messages: Sequence[Message]
    ) -> list[tuple[bool, list[int]]]:
        """Return a prompt's tokens in pieces, and of each whether it is a player's text."""
        found: list[tuple[bool, list[int]]] = []
        for k, piece in enumerate(pieces):
            if k % 2 == 0:
                found.append((False, self._template_ids(piece)))
                continue
            message = messages[int(piece)]
            content = message["content"]
            parts = content.parts if isinstance(content, Framed) else ("", content)
            players = message["role"] != "system"
            found += [
                (players and n % 2 == 1, self.content_ids(part)) for n, part in enumerate(parts)
            ]
        return found

    def _cut(self, pieces: Sequence[tuple[bool, list[int]]], tail: int) -> list[list[int]]:
        """Return a prompt's pieces, the longest ones of players cut until there is room."""
        excess = sum(len(ids) for _, ids in pieces) + tail - self.max_prompt_tokens
        while excess > 0:
            longest = max((ids for players, ids in pieces if players), key=len, default=None)
            if not longest:
                raise RedteamError(f"The instructions alone are longer than {self._too_long}")
            cut = min(excess, max(1, len(longest) // 2))
            del longest[-cut:]
            excess -= cut
        return [ids for _, ids in pieces]


def _template_of(tokenizer: Any) -> str:
    """Return the template for dialogues, of tokenizers with several the one that is called default."""
    try:
        return str(tokenizer.get_chat_template())
    except ValueError as error:
        raise RedteamError(
            f"{tokenizer.name_or_path!r} has several chat templates and none is called default: "
            f"{str(error).splitlines()[0]}"
        ) from error


def _closing(prompt: str) -> str:
    """Return what closes the thought that a generation prompt opens; empty if it opens none."""
    tags = find_tags(prompt)
    opened = [thought for thought in find_thoughts(prompt, tags) if not thought.closed]
    if not opened:
        return ""
    start, end = opened[0].start, opened[0].inner[0]
    mark = prompt[start:end]
    if mark.startswith("<|channel>"):
        return "<channel|>"
    if "channel" in mark:
        return "<|end|><|start|>assistant<|channel|>final<|message|>"
    return f"\n{mark[0]}/{mark[1:]}\n\n"


def _without_added_tokens(tokenizer: Any) -> Tokenizer:
    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    spec.update(added_tokens=[], post_processor=None, truncation=None, padding=None)
    return Tokenizer.from_str(json.dumps(spec))
