"""Algorithms: what an update logs, what they keep, and the parts of the built-in engine's subclasses."""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from redteam_env.border.calls import Plugin, call, mapping, nothing
from redteam_env.border.records import kept, metrics
from redteam_env.game.values import Unfit, shown
from redteam_env.protocols import Algorithm, AlgorithmState, Batch, Rollout, Row, TrainablePolicy

Array = np.ndarray[Any, Any]


def update(
    algorithm: Algorithm,
    name: str,
    policy: TrainablePolicy,
    batches: Mapping[str, Batch],
    rollout: Rollout,
) -> Row:
    """Have an algorithm learn from a step's batches; return what it logs.

    Args:
        algorithm: The algorithm.
        name: Its name.
        policy: What is trained.
        batches: The batches by role.
        rollout: Plays further games, for an ``update`` that takes it.

    Raises:
        RedteamError: If it raises, or returns anything else than numbers by name.
    """
    more: dict[str, Any] = {"rollout": rollout} if _takes(algorithm, "rollout") else {}
    return call(
        Plugin(algorithm, f"algorithm {name!r}"),
        "update",
        policy,
        batches,
        returns="a mapping of names such as 'attacker/loss' to numbers or None",
        read=metrics,
        **more,
    )


def _takes(algorithm: Any, option: str) -> bool:
    try:
        return option in inspect.signature(algorithm.update).parameters
    except (AttributeError, TypeError, ValueError):  # some callables of C tell nothing
        return False


def state_of(algorithm: Algorithm, name: str) -> AlgorithmState:
    """Return what a resumed run needs of an algorithm: tensors by name, and plain JSON.

    Raises:
        RedteamError: If it raises, or returns anything else.
    """
    return call(
        Plugin(algorithm, f"algorithm {name!r}"),
        "state",
        returns="a redteam_env.protocols.AlgorithmState",
        read=_state,
    )


def _state(value: Any) -> AlgorithmState:
    if not isinstance(value, AlgorithmState):
        raise Unfit(f"returned {shown(value)}", "give tensors by name, and values as plain JSON")
    return AlgorithmState(
        tensors=mapping(value.tensors, _tensor, "tensors"), values=kept(value.values)
    )


def _tensor(value: Any) -> Any:
    if not hasattr(value, "contiguous"):
        raise Unfit(f"is {shown(value)}", "give torch tensors; numbers belong into values")
    return value


def load_state(algorithm: Algorithm, name: str, state: AlgorithmState) -> None:
    """Give an algorithm its state back.

    Raises:
        RedteamError: If it raises.
    """
    plugin = Plugin(algorithm, f"algorithm {name!r}")
    call(plugin, "load_state", state, returns="nothing", read=nothing)


def advantages(algorithm: Any, batches: Mapping[str, Batch]) -> dict[str, Array]:
    """Return the advantages that a policy-gradient algorithm gives each role's tokens.

    Args:
        algorithm: A subclass of :class:`algorithms.PolicyGradient`.
        batches: What it is to compute them from.

    Returns:
        For each role a float64 array like its batch's mask, 0 off it.

    Raises:
        RedteamError: If it raises, a role is missing, or its advantages are no finite numbers of that
            shape.
    """

    def read(value: Any) -> dict[str, Array]:
        if not isinstance(value, Mapping):
            raise Unfit(f"returned {shown(value)}", "give a mapping from roles to arrays")
        if missing := sorted(set(batches) - set(value)):
            raise Unfit(f"returned none for the {missing[0]}", f"give them for {sorted(batches)}")
        return {role: _advantages(role, value[role], batches[role].mask) for role in batches}

    return call(
        Plugin(algorithm, f"algorithm {type(algorithm).__name__!r}"),
        "advantages",
        batches,
        returns="for each role an array of finite numbers like batches[role].mask",
        read=read,
    )


def _advantages(role: str, value: Any, mask: Array) -> Array:
    array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    if array.shape != mask.shape:
        came = f"the shape {array.shape}" if array.shape else f"no shape ({shown(value)})"
        give = f"give one number for each token, shape {mask.shape}"
        raise Unfit(f"gave advantages of the {role} with {came}", give)
    if array.dtype.kind not in "biuf":
        raise Unfit(f"gave advantages of the {role} of dtype {array.dtype}", "give real numbers")
    if bad := int((~np.isfinite(array[mask])).sum()):
        raise Unfit(
            f"gave {bad} advantages of the {role} that are not finite", "give finite numbers"
        )
    return np.where(mask, array, 0.0)


def loss(algorithm: Any, batch: Batch) -> Any:
    """Return the loss that a policy-gradient algorithm gives one pass.

    Raises:
        RedteamError: If it raises, or returns anything else than a tensor of one number.
    """

    def read(value: Any) -> Any:
        if not hasattr(value, "backward"):
            raise Unfit(f"returned {shown(value)}", "")
        if value.numel() != 1:
            raise Unfit(f"returned a tensor of the shape {tuple(value.shape)}", "sum it")
        return value

    return call(
        Plugin(algorithm, f"algorithm {type(algorithm).__name__!r}"),
        "loss",
        batch,
        returns="the summed loss of a pass, a tensor of one number",
        read=read,
    )
