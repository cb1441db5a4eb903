"""Announcing the environments, so that ``pettingzoo.make`` and ``gymnasium.make`` find them.

Gymnasium: ``redteam/Attacker-v0`` (against the agent ``comply``) and ``redteam/Defender-v0``
(against ``template``). PettingZoo: ``redteam/redteam-v0`` (texts) and ``redteam/numeric-v0`` (numbers),
both as ``aec`` and as ``parallel``.
"""

import gymnasium
import pettingzoo  # type: ignore[import-untyped]  # no py.typed there

from redteam_env.game import ATTACKER, DEFENDER

PETTINGZOO_MODULES = {
    "redteam/redteam-v0": "redteam_env.redteam_v0",
    "redteam/numeric-v0": "redteam_env.numeric_v0",
}
PETTINGZOO_FACES = {"aec": "env", "parallel": "parallel_env"}
GYMNASIUM_SEATS = {"redteam/Attacker-v0": ATTACKER, "redteam/Defender-v0": DEFENDER}


def register_gymnasium() -> None:
    """Register the single-seat views with Gymnasium; again does nothing."""
    for name, seat in GYMNASIUM_SEATS.items():
        if name not in gymnasium.registry:
            gymnasium.register(
                name,
                entry_point="redteam_env.playing:single_seat",
                kwargs={"seat": seat},
            )


def register_pettingzoo() -> None:
    """Register both faces of each environment with PettingZoo; again does nothing."""
    registries = {"aec": pettingzoo.aec_registry, "parallel": pettingzoo.parallel_registry}
    for kind, face in PETTINGZOO_FACES.items():
        for name, module in PETTINGZOO_MODULES.items():
            if name not in registries[kind]:
                pettingzoo.register(kind, name, f"{module}:{face}")
