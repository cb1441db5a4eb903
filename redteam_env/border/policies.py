"""Policies: their log-probabilities, the agents that play them, what describes them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from redteam_env.border.agents import check_agent
from redteam_env.border.calls import Plugin, as_it_is, attribute, call, each, method_of, nothing
from redteam_env.border.records import kept
from redteam_env.game import Generation
from redteam_env.game.values import Unfit, shown, text, whole
from redteam_env.protocols import Agent, TrainablePolicy

_METHODS = tuple(
    name for name, member in vars(TrainablePolicy).items() if name[0] != "_" and callable(member)
)


def _named(policy: Any) -> Plugin:
    return Plugin(policy, f"policy {type(policy).__name__!r}")


def check_policy(policy: Any) -> TrainablePolicy:
    """Return a policy if it has what its protocol asks for.

    Raises:
        RedteamError: If a method is missing, or the roles that it trains are no texts.
    """
    plugin = _named(policy)
    for method in _METHODS:
        method_of(plugin, method)
    attribute(plugin, "trainable_roles", lambda value: each(value, text, noun="roles"))
    checked: TrainablePolicy = policy
    return checked


def logprobs(policy: Any, role: str, generations: Sequence[Generation], **options: Any) -> Any:
    """Return what a policy computed for some rows, log-probabilities and mask in their shape.

    Args:
        policy: The policy.
        role: The role.
        generations: The rows.
        **options: What else is asked of :meth:`TrainablePolicy.logprobs`.

    Raises:
        RedteamError: If it raises, or a tensor is missing or has another shape.
    """
    asked = (role, generations)
    return _passed(policy, "logprobs", asked, ("logprobs", "mask", "entropy"), options)


def reference_logprobs(policy: Any, role: str, generations: Sequence[Generation]) -> Any:
    """Return the same under the frozen reference, without entropy.

    Raises:
        RedteamError: As :func:`logprobs`.
    """
    return _passed(policy, "reference_logprobs", (role, generations), ("logprobs", "mask"), {})


def values(policy: Any, role: str, generations: Sequence[Generation]) -> Any:
    """Return what a policy's value head expects before each token.

    Raises:
        RedteamError: As :func:`logprobs`.
    """
    return _passed(policy, "values", (role, generations), ("values", "mask"), {})


def _passed(
    policy: Any,
    method: str,
    asked: tuple[str, Sequence[Generation]],
    names: Sequence[str],
    options: Mapping[str, Any],
) -> Any:
    rows = asked[1]
    shape = (len(rows), max(len(x.completion_ids) for x in rows))

    def read(value: Any) -> Any:
        for name in names:
            found = getattr(value, name, None)
            own = getattr(found, "shape", None)
            if own is None or tuple(own) != shape:
                came = shown(found) if own is None else f"of the shape {tuple(own)}"
                raise Unfit(f"gave {name} that are {came}", f"give a tensor of the shape {shape}")
        return value

    returns = f"an object with {', '.join(names)}, each of the shape (rows, longest completion)"
    return call(_named(policy), method, *asked, returns=returns, read=read, **options)


def agent_of(policy: Any, role: str, **options: Any) -> Agent:
    """Return the agent that plays a role with a policy's current weights.

    Raises:
        RedteamError: If the policy raises, or returns no agent.
    """
    return _agent(policy, "agent", role, **options)


def past_agent(policy: Any, role: str, directory: Path, **options: Any) -> Agent:
    """Return the agent that plays a role with saved weights.

    Raises:
        RedteamError: If the policy raises, or returns no agent.
    """
    return _agent(policy, "past_agent", role, directory, **options)


def _agent(policy: Any, method: str, role: str, *arguments: Any, **options: Any) -> Agent:
    plugin = _named(policy)
    what = f"agent of the {role} that the {plugin.what} gave"
    return call(
        plugin,
        method,
        role,
        *arguments,
        returns="an agent (redteam_env.Agent)",
        read=lambda value: check_agent(value, what),
        **options,
    )


def encode_example(
    policy: Any, role: str, messages: Sequence[Mapping[str, str]], response: str, *, prefill: str
) -> Any:
    """Return an example as tokens; what they are made of is the policy's own.

    Raises:
        RedteamError: If the policy raises.
    """
    return call(
        _named(policy),
        "encode_example",
        role,
        messages,
        response,
        prefill=prefill,
        returns="an example as tokens",
        read=as_it_is,
    )


def publish(policy: Any, weights: str) -> int:
    """Announce that named weights changed; return their new version.

    Raises:
        RedteamError: If the policy raises, or returns no whole number.
    """
    returns = "the new version, a whole number"
    return call(_named(policy), "publish", weights, returns=returns, read=_version)


def version(policy: Any, weights: str) -> int:
    """Return the version of named weights.

    Raises:
        RedteamError: If the policy raises, or returns no whole number.
    """
    returns = "the version, a whole number"
    return call(_named(policy), "version", weights, returns=returns, read=_version)


def _version(value: Any) -> int:
    try:
        return whole(value)
    except Unfit as unfit:
        raise Unfit(f"returned {shown(value)}", unfit.give) from None


def describe(policy: Any) -> dict[str, Any]:
    """Return what identifies a policy's base, as plain JSON.

    Raises:
        RedteamError: If the policy raises, or returns what JSON cannot hold.
    """
    return call(_named(policy), "describe", returns="a mapping of plain JSON", read=kept)


def tell(policy: Any, method: str, *arguments: Any, **options: Any) -> None:
    """Call a method of a policy that returns nothing, such as ``save``; what the machine refuses it passes.

    Raises:
        RedteamError: If it raises anything else.
    """
    plugin = _named(policy)
    call(plugin, method, *arguments, returns="nothing", read=nothing, writes=True, **options)
