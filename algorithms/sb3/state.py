"""A model of Stable-Baselines3 as flat tensors and plain JSON; its own files hold pickles."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from redteam_env.game import RedteamError
from redteam_env.protocols import AlgorithmState

WEIGHTS_FILE = "policy.safetensors"
_COUNTERS = ("num_timesteps", "_n_updates", "_n_calls", "_episode_num")
_BUFFER = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


def collect(model: BaseAlgorithm) -> AlgorithmState:
    """Return weights, optimiser, counters and, of an off-policy model, the filled replay buffer."""
    tensors = {f"policy/{k}": x.detach().clone() for k, x in model.policy.state_dict().items()}
    numbers: dict[str, dict[str, float]] = {}
    for index, entries in model.policy.optimizer.state_dict()["state"].items():
        for name, value in entries.items():
            if isinstance(value, torch.Tensor):
                tensors[f"optimiser/{index}/{name}"] = value.detach().clone()
            else:
                numbers.setdefault(str(index), {})[name] = value
    values: dict[str, Any] = {
        "optimiser": numbers,
        "counters": {name: getattr(model, name) for name in _COUNTERS if hasattr(model, name)},
    }
    if isinstance(model, OffPolicyAlgorithm) and model.replay_buffer is not None:
        buffer = model.replay_buffer
        filled = buffer.size()
        values["buffer"] = {"pos": buffer.pos, "full": buffer.full}
        for name in _BUFFER:
            tensors[f"buffer/{name}"] = torch.from_numpy(getattr(buffer, name)[:filled].copy())
    return AlgorithmState(tensors=tensors, values=values)


def give_back(model: BaseAlgorithm, state: AlgorithmState) -> None:
    """Put a state that :func:`collect` returned into a model that was made with the same settings.

    Raises:
        RedteamError: If a part is missing or of another shape: training never goes on with an empty
            optimiser or replay buffer.
    """
    try:
        model.policy.load_state_dict(dict(_under("policy", state)), strict=True)
        optimiser: dict[int, dict[str, Any]] = {
            int(index): dict(entries) for index, entries in state.values["optimiser"].items()
        }
        for key, value in _under("optimiser", state):
            index, _, name = key.partition("/")
            optimiser.setdefault(int(index), {})[name] = value
        groups = model.policy.optimizer.state_dict()["param_groups"]
        model.policy.optimizer.load_state_dict({"state": optimiser, "param_groups": groups})
        for name, count in state.values["counters"].items():
            setattr(model, name, count)
        if isinstance(model, OffPolicyAlgorithm) and model.replay_buffer is not None:
            buffer = model.replay_buffer
            for name in _BUFFER:
                stored = state.tensors[f"buffer/{name}"].numpy()
                getattr(buffer, name)[: len(stored)] = stored
            buffer.pos, buffer.full = (state.values["buffer"][x] for x in ("pos", "full"))
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise RedteamError(
            f"The checkpoint does not fit the run ({type(error).__name__}: {error}); resume with "
            "the options the run was started with."
        ) from error


def _under(folder: str, state: AlgorithmState) -> Iterator[tuple[str, Any]]:
    for key, value in state.tensors.items():
        if key.startswith(f"{folder}/"):
            yield key.removeprefix(f"{folder}/"), value


def score(model: BaseAlgorithm, seen: Any) -> torch.Tensor:
    """Return the score of each move in some games, of shape (games, moves).

    Args:
        model: The model.
        seen: What the environments show of each game.
    """
    policy: Any = model.policy
    with torch.no_grad():
        inputs, _ = policy.obs_to_tensor(seen)
        if isinstance(model, OffPolicyAlgorithm):
            scores: torch.Tensor = policy.q_net(inputs)
        else:
            scores = policy.get_distribution(inputs).distribution.logits
    return scores


def export(model: BaseAlgorithm, directory: Path) -> dict[str, Any]:
    """Write the network that scores the moves, layer by layer, into a directory.

    Args:
        model: The model: its policy is a multi-layer perceptron.
        directory: Gets ``policy.safetensors``.

    Returns:
        How many layers there are, the activation between them, and whether the highest score is
        always played.
    """
    policy: Any = model.policy
    greedy = isinstance(model, OffPolicyAlgorithm)
    scorer = (
        list(policy.q_net.q_net)
        if greedy
        else [*policy.mlp_extractor.policy_net, policy.action_net]
    )
    layers = [x for x in scorer if isinstance(x, torch.nn.Linear)]
    between = {type(x).__name__ for x in scorer} - {"Linear"}
    tensors = {}
    for k, layer in enumerate(layers):
        tensors[f"{k}.weight"] = layer.weight.detach().clone()
        tensors[f"{k}.bias"] = layer.bias.detach().clone()
    save_file(tensors, directory / WEIGHTS_FILE)
    return {"layers": len(layers), "activation": between.pop(), "greedy": greedy}
