"""The shapes of models: what of a configuration decides how many weights and how much memory.

The dense models of the Qwen2.5 and Qwen3 families and SmolLM2-135M are plain data here (from the
``config.json`` of their releases), so that planning needs neither weights nor a network.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The shape of a decoder with rotary positions, RMS norms and a gated MLP.

    Attributes:
        vocab: Rows of the embedding.
        hidden: Width of the residual stream.
        intermediate: Width of the MLP.
        layers: Decoder layers.
        heads: Query heads.
        kv_heads: Key and value heads; fewer than ``heads`` in grouped-query attention.
        head_dim: Width of a head.
        tied: Whether the output head is the embedding.
        qkv_bias: Whether query, key and value projections have a bias.
        o_bias: Whether the attention's output projection has one.
        mlp_bias: Whether the MLP's three projections have one.
        qk_norm: Whether queries and keys are normalised per head.
    """

    vocab: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    tied: bool
    qkv_bias: bool = False
    o_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False

    @property
    def query(self) -> int:
        """Width of all query heads."""
        return self.heads * self.head_dim

    @property
    def key(self) -> int:
        """Width of all key heads, and of all value heads."""
        return self.kv_heads * self.head_dim


SMOLLM2 = "smollm2"
"""The name under which this library fetches SmolLM2-135M-Instruct."""

# size: vocab, hidden, intermediate, layers, heads, key-value heads, tied
_QWEN25 = {
    "0.5B": (151936, 896, 4864, 24, 14, 2, True),
    "1.5B": (151936, 1536, 8960, 28, 12, 2, True),
    "3B": (151936, 2048, 11008, 36, 16, 2, True),
    "7B": (152064, 3584, 18944, 28, 28, 4, False),
    "14B": (152064, 5120, 13824, 48, 40, 8, False),
    "32B": (152064, 5120, 27648, 64, 40, 8, False),
    "72B": (152064, 8192, 29568, 80, 64, 8, False),
}
_QWEN3 = {
    "0.6B": (151936, 1024, 3072, 28, 16, 8, True),
    "1.7B": (151936, 2048, 6144, 28, 16, 8, True),
    "4B": (151936, 2560, 9728, 36, 32, 8, True),
    "8B": (151936, 4096, 12288, 36, 32, 8, False),
    "14B": (151936, 5120, 17408, 40, 40, 8, False),
    "32B": (151936, 5120, 25600, 64, 64, 8, False),
}
_QWEN3_LATER = ("Qwen/Qwen3-4B-Instruct-2507", "Qwen/Qwen3-4B-Thinking-2507")
_SMOLLM2_ROW = (49152, 576, 1536, 30, 9, 3, True)


def _shape(row: tuple[int, int, int, int, int, int, bool], head_dim: int, **flags: bool) -> Shape:
    vocab, hidden, intermediate, layers, heads, kv_heads, tied = row
    return Shape(
        vocab=vocab,
        hidden=hidden,
        intermediate=intermediate,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        tied=tied,
        **flags,
    )


def _known() -> dict[str, Shape]:
    smollm2 = _shape(_SMOLLM2_ROW, 64)
    found = {SMOLLM2: smollm2}
    for ending in ("", "-Instruct"):
        found[f"HuggingFaceTB/SmolLM2-135M{ending}"] = smollm2
    for size, row in _QWEN25.items():
        shape = _shape(row, row[1] // row[4], qkv_bias=True)
        for ending in ("", "-Instruct"):
            found[f"Qwen/Qwen2.5-{size}{ending}"] = shape
    for size, row in _QWEN3.items():
        shape = _shape(row, 128, qk_norm=True)
        found[f"Qwen/Qwen3-{size}"] = shape
        if size != "32B":  # there is no base model of this size
            found[f"Qwen/Qwen3-{size}-Base"] = shape
    found.update(dict.fromkeys(_QWEN3_LATER, found["Qwen/Qwen3-4B"]))
    return found


SHAPES: Mapping[str, Shape] = MappingProxyType(_known())
"""The shape behind each name that needs no configuration file."""
