"""What passes through a model hold, in bytes: activations, logits, caches, folded weights.

Follows transformers' decoder with scaled-dot-product attention and a mask, LoRA layers of PEFT's or
our own (:mod:`agents.lora.folding`), and :mod:`agents.lora.hf`. Tests count the tensors that autograd
really saves.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from agents.plan.parameters import EMBEDDING, Layer, linear_layers
from agents.plan.shapes import Shape

FOLD_LIMIT = 2**27
"""Most parameters of adapted layers that sampling folds an adapter into (:mod:`agents.lora.store`)."""
FOLD_RATIO = 4
"""Most parameters of adapted layers that training folds into, for each one of the adapter."""
_FLOAT = 4
_PART = 2**21  # most logits that are worked on at a time (agents.lora.hf)
_PART_COPIES = 2  # their exponentials, and these times the logits for the entropy
_GROUPS = {"k_proj": "q_proj", "v_proj": "q_proj", "up_proj": "gate_proj"}  # read the same tensor
_SAMPLING_COPIES = 24  # bytes: float32 log-probabilities and their input, two float64 cumulations
_LARGE_COPIES = 16  # the same and their exponentials, once more in whole blocks
_LARGE = 2**14  # words of a vocabulary that is summed in blocks (agents.lora.hf)


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """The passes of one model in one arrangement.

    Attributes:
        shape: The model's.
        adapted: The layers that carry an adapter; none where the whole model is trained.
        rank: LoRA's rank.
        size: Bytes of a number of the model.
        checkpointing: Whether activations are computed again in the backward pass.
        shared_keys: Whether attention shares keys among heads instead of copying them for each, as it
            does under adapters on the CPU (:mod:`agents.lora.attention`).
    """

    shape: Shape
    adapted: Mapping[str, Layer]
    rank: int
    size: int
    checkpointing: bool
    shared_keys: bool = False

    @property
    def _whole(self) -> bool:
        return not self.adapted

    @property
    def _plain(self) -> int:
        """Bytes of the weights of adapted layers if these are plain float32 ones, else 0."""
        weights = sum(layer.weights for layer in self.adapted.values())
        return weights * _FLOAT if self.size == _FLOAT and EMBEDDING not in self.adapted else 0

    @property
    def _folded(self) -> int:
        """Bytes of the weights of adapted layers where sampling makes copies of them, else 0."""
        return self._plain if self._plain <= FOLD_LIMIT * _FLOAT else 0

    @property
    def folded_in_training(self) -> int:
        """Bytes of the folded weights that a training pass computes with, else 0."""
        own = sum(self.rank * (x.inputs + x.outputs) for x in self.adapted.values())
        small = self._plain <= FOLD_RATIO * own * _FLOAT
        return self._plain if small and not self.checkpointing else 0

    def training(self, rows: int, prompt: int, completion: int) -> tuple[int, int]:
        """Return the bytes of one forward and backward pass.

        Args:
            rows: Samples.
            prompt: Tokens of the longest prompt.
            completion: Tokens of the longest completion.

        Returns:
            What is saved for the backward pass, and the most that is held beside it at once.
        """
        shape, size = self.shape, self.size
        folded = self.folded_in_training
        length = prompt + completion - 1  # the last token is no token's past
        tokens, scored = rows * length, rows * completion
        saved = self._saved(tokens, length, scored)
        logits = scored * shape.vocab * _FLOAT
        copies = _PART_COPIES * min(logits, _PART * _FLOAT)
        layer = tokens * 4 * shape.intermediate * _FLOAT
        head = shape.vocab * shape.hidden * size * self._whole  # gradient of the output head
        held = head if shape.tied else 0  # until the embedding's is there to be added to it
        if self.checkpointing:
            again = self._of_layers(tokens, length) // shape.layers
            return saved, max(logits + copies, again + layer + held)
        grouped = shape.kv_heads < shape.heads and not self.shared_keys
        cache = tokens * shape.layers * 2 * shape.key * size * grouped  # else it is what is saved
        work = (
            cache + logits,  # forward, at the output head
            logits + copies,  # the entropy
            logits + head,  # backward, at the output head: the logits' gradient takes their place
            layer + held,  # backward, at the last layer
            2 * held
            - saved,  # at the end, with no activations left: both gradients of the embedding
            folded - saved,  # the same: gradients of all folded weights
        )
        return saved, folded + max(work)

    def _saved(self, tokens: int, length: int, scored: int) -> int:
        shape, size = self.shape, self.size
        norm = shape.hidden * (_FLOAT + self._whole * size) + _FLOAT
        ends = norm + 2 * shape.head_dim * size + 8 * self._whole  # last norm, rotation, token ids
        head = scored * shape.hidden * size * self._whole
        if self.checkpointing:
            return tokens * (shape.layers * shape.hidden * size + ends) + head
        if not self._whole:  # nothing below the first norm is trained, so it saves nothing
            ends -= norm
        return self._of_layers(tokens, length) + tokens * ends + head

    def _of_layers(self, tokens: int, length: int) -> int:
        inputs = self._inputs(plain=self._whole or self.folded_in_training > 0)
        return tokens * (self.shape.layers * self._layer(length) + inputs)

    def _layer(self, length: int) -> int:
        """Return what a layer saves for a token, but for the inputs of trained layers."""
        shape, size = self.shape, self.size
        norms = 2 * (shape.hidden * _FLOAT + _FLOAT)
        keys = shape.key if self.shared_keys else shape.query
        attention = (2 * shape.query + 2 * keys + length) * size + shape.heads * _FLOAT
        heads = (shape.query + shape.key + shape.heads + shape.kv_heads) * _FLOAT * shape.qk_norm
        gated = 2 if self._plain and not self.checkpointing else 3  # agents.lora.lean
        mlp = gated * shape.intermediate * size
        if not self._whole:
            return norms + attention + heads + mlp
        normed = 2 * shape.hidden + (shape.query + shape.key) * shape.qk_norm
        return norms + attention + heads + mlp + normed * size

    def _inputs(self, *, plain: bool) -> int:
        """Return what the trained layers of all layers together save for a token.

        Plain layers with a gradient save what they read, once where several read the same tensor;
        attention's output is saved already. LoRA layers save the same and the rank-wide middle; on a
        base of another format than float32 each of them makes a float32 copy of what it reads.
        """
        layers = self.adapted or linear_layers(self.shape)
        read: dict[str, int] = {}
        for name, layer in layers.items():
            prefix, _, last = name.rpartition(".")
            if not prefix or name == EMBEDDING:
                continue
            if plain or self.size == _FLOAT:
                own = 0 if last == "o_proj" else layer.inputs * self.size
                read[f"{prefix}.{_GROUPS.get(last, last)}"] = own
            else:
                read[name] = layer.inputs * _FLOAT
        middle = 0 if plain else len(layers) * self.rank * _FLOAT
        return sum(read.values()) + middle

    def sampling(self, rows: int, prompt: int, completion: int) -> tuple[int, int]:
        """Return the bytes of sampling.

        Args:
            rows: Sequences.
            prompt: Tokens of the longest prompt.
            completion: Tokens of the longest completion.

        Returns:
            The cache of keys and values at its end, and the most that is held beside it at once:
            by the first step, which reads the prompts, or by the last one.
        """
        shape, size = self.shape, self.size
        folded = self._folded
        token = shape.layers * 2 * shape.key * size
        cache = rows * (prompt + completion) * token
        growth = rows * (prompt + completion) * shape.key * size  # a layer's keys old and new
        copies = _LARGE_COPIES if shape.vocab >= _LARGE else _SAMPLING_COPIES
        last = growth + rows * shape.vocab * (copies + size)
        products = 0 if self._whole or self._plain else 2 * _FLOAT  # PEFT's, beside the layer's
        wide = shape.intermediate * (3 * size + products) + 2 * shape.hidden * size
        masks = rows * prompt * prompt * (1 + size)
        first = rows * prompt * wide + masks - rows * completion * token
        return cache, folded + max(first, last)
