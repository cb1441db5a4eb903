"""Learning: the algorithms, the engine they are written with, the runs that use them, and studies of runs.

Every name is imported when it is first asked for, so that ``from algorithms import train`` takes no
time and imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from algorithms.core import advantages, losses
    from algorithms.core.config import PolicyGradientConfig
    from algorithms.core.policy_gradient import PolicyGradient
    from algorithms.training.config import RunConfig, TrainConfig
    from algorithms.training.loop import Outcome
    from algorithms.training.preflight import preflight
    from algorithms.training.trainer import train

__all__ = [
    "Outcome",
    "PolicyGradient",
    "PolicyGradientConfig",
    "RunConfig",
    "TrainConfig",
    "advantages",
    "losses",
    "preflight",
    "train",
]

if not TYPE_CHECKING:  # a type checker should see exactly the names above
    _HOMES = {
        "PolicyGradient": "core.policy_gradient",
        "PolicyGradientConfig": "core.config",
        "TrainConfig": "training.config",
        "RunConfig": "training.config",
        "Outcome": "training.loop",
        "preflight": "training.preflight",
        "train": "training.trainer",
    }

    def __getattr__(name: str) -> Any:
        """Import a public name."""
        if name in {"advantages", "losses"}:
            return import_module(f"algorithms.core.{name}")
        if name in _HOMES:
            return getattr(import_module(f"algorithms.{_HOMES[name]}"), name)
        raise AttributeError(f"module 'algorithms' has no attribute {name!r}")

    def __dir__() -> list[str]:
        """List the public names, too, so that they can be completed."""
        return sorted({*globals(), *__all__})
