"""Whoever can sit at a seat: scripts, people, models behind an API, and LoRA policies that are trained.

Every name is imported when it is first asked for, so that ``from agents import PolicyConfig`` takes no
time and imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents import scripted
    from agents.endpoint import EndpointAgent
    from agents.lora.config import PolicyConfig
    from agents.lora.policy import LoraPolicy
    from agents.lora.pool import PolicyPool

__all__ = ["EndpointAgent", "LoraPolicy", "PolicyConfig", "PolicyPool", "scripted"]

if not TYPE_CHECKING:  # a type checker should see exactly the names above
    _HOMES = {
        "EndpointAgent": "endpoint",
        "PolicyConfig": "lora.config",
        "LoraPolicy": "lora.policy",
        "PolicyPool": "lora.pool",
    }

    def __getattr__(name: str) -> Any:
        """Import a public name."""
        if name == "scripted":
            return import_module("agents.scripted")
        if name in _HOMES:
            return getattr(import_module(f"agents.{_HOMES[name]}"), name)
        raise AttributeError(f"module 'agents' has no attribute {name!r}")

    def __dir__() -> list[str]:
        """List the public names, too, so that they can be completed."""
        return sorted({*globals(), *__all__})
