"""Announcing the environments, so that ``pettingzoo.make`` and ``gymnasium.make`` find them.

Gymnasium: ``redteam/Attacker-v0`` (against the agent ``comply``) and ``redteam/Defender-v0``
(against ``template``). PettingZoo: ``redteam/redteam-v0``, both as ``aec`` and as ``parallel``.
"""

import gymnasium
import pettingzoo  # type: ignore[import-untyped]  # no py.typed there

from redteam_env.game import ATTACKER, DEFENDER

PETTINGZOO_ID = "redteam/redteam-v0"
PETTINGZOO_ENTRIES = {
    "aec": "redteam_env.redteam_v0:env",
    "parallel": "redteam_env.redteam_v0:parallel_env",
}
GYMNASIUM_SEATS = {"redteam/Attacker-v0": ATTACKER, "redteam/Defender-v0": DEFENDER}


def register_gymnasium() -> None:
    """Register the single-seat views with Gymnasium; again does nothing."""
    for name, seat in GYMNASIUM_SEATS.items():
        if name not in gymnasium.registry:
            gymnasium.register(
                name,
                entry_point="redteam_env.envs.single_seat:single_seat",
                kwargs={"seat": seat},
            )


def register_pettingzoo() -> None:
    """Register both faces with PettingZoo; again does nothing."""
    registries = {"aec": pettingzoo.aec_registry, "parallel": pettingzoo.parallel_registry}
    for kind, entry in PETTINGZOO_ENTRIES.items():
        if PETTINGZOO_ID not in registries[kind]:
            pettingzoo.register(kind, PETTINGZOO_ID, entry)
