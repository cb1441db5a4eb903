"""Counting parameters: of a model, and of the LoRA adapters that PEFT would put on it.

An adapter on a layer of ``n`` inputs and ``m`` outputs has ``rank * (n + m)`` parameters
(arXiv 2106.09685, section 4.1). Tests compare both counts with what torch and PEFT build.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from agents.plan.shapes import Shape
from redteam_env.game import RedteamError

ALL_LINEAR = "all-linear"
EMBEDDING = "model.embed_tokens"
HEAD = "lm_head"


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that can carry an adapter.

    Attributes:
        inputs: Width of its input; the vocabulary for the embedding.
        outputs: Width of its output.
        bias: Whether it has one.
    """

    inputs: int
    outputs: int
    bias: bool = False

    @property
    def weights(self) -> int:
        """Entries of its matrix."""
        return self.inputs * self.outputs


def linear_layers(shape: Shape) -> dict[str, Layer]:
    """Return every linear layer but the output head, by the name transformers gives it."""
    of_one = {
        "self_attn.q_proj": Layer(shape.hidden, shape.query, shape.qkv_bias),
        "self_attn.k_proj": Layer(shape.hidden, shape.key, shape.qkv_bias),
        "self_attn.v_proj": Layer(shape.hidden, shape.key, shape.qkv_bias),
        "self_attn.o_proj": Layer(shape.query, shape.hidden, shape.o_bias),
        "mlp.gate_proj": Layer(shape.hidden, shape.intermediate, shape.mlp_bias),
        "mlp.up_proj": Layer(shape.hidden, shape.intermediate, shape.mlp_bias),
        "mlp.down_proj": Layer(shape.intermediate, shape.hidden, shape.mlp_bias),
    }
    return {
        f"model.layers.{k}.{name}": layer
        for k in range(shape.layers)
        for name, layer in of_one.items()
    }


def model_parameters(shape: Shape) -> int:
    """Return how many parameters a model has; a tied output head counts once."""
    embeddings = shape.vocab * shape.hidden * (1 if shape.tied else 2)
    matrices = sum(x.weights + x.bias * x.outputs for x in linear_layers(shape).values())
    norms = shape.layers * (2 * shape.hidden + shape.qk_norm * 2 * shape.head_dim) + shape.hidden
    return embeddings + matrices + norms


def adapted_layers(shape: Shape, targets: str) -> Mapping[str, Layer]:
    """Return the layers that get an adapter.

    Args:
        shape: The model's.
        targets: ``all-linear``, or names separated by commas; as in PEFT, a name stands for every
            layer that is called so, or whose full name ends in a dot and it.

    Raises:
        RedteamError: If a name stands for no linear layer and not for the embedding.
    """
    linear = linear_layers(shape)
    if targets.strip() == ALL_LINEAR:
        return linear
    known = {
        EMBEDDING: Layer(shape.vocab, shape.hidden),
        **linear,
        HEAD: Layer(shape.hidden, shape.vocab),
    }
    chosen: set[str] = set()
    for name in (part.strip() for part in targets.split(",")):
        found = {key for key in known if key == name or (name and key.endswith(f".{name}"))}
        if not found:
            raise RedteamError(
                f"Target module {name!r} does not exist in this model; give {ALL_LINEAR}, or some "
                f"of {', '.join(dict.fromkeys(key.rpartition('.')[2] for key in known))}."
            )
        chosen |= found
    return {key: layer for key, layer in known.items() if key in chosen}


def adapter_parameters(shape: Shape, *, rank: int, targets: str = ALL_LINEAR) -> int:
    """Return how many parameters one LoRA adapter has.

    Args:
        shape: The model's.
        rank: LoRA's rank, at least 1.
        targets: As in :func:`adapted_layers`.

    Raises:
        RedteamError: If the rank is below 1 or a target does not exist.
    """
    if rank < 1:
        raise RedteamError(f"rank is {rank}; give a whole number of at least 1.")
    return sum(rank * (x.inputs + x.outputs) for x in adapted_layers(shape, targets).values())
