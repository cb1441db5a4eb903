"""What ``--world apothecary`` stands for: every setting that belongs to the world, in one table.

With them attackers discover a way to hide what they ask for, defenders answer it, and attackers look for
the next one. Each setting has a reason:

* Without the gate attackers rewrite harm away; a game with such a rewrite would teach the defender a wrong
  label, so it is dropped from the defender's batch.
* Refusing a benign request costs six times the preset's, or "refuse whatever is in disguise" pays.
* Attackers have to leave what the base does (low KL) while defenders keep what the base knows.
* Defenders learn at .3 times the attackers' rate. At the same rate they refuse every disguise, whatever it
  asks for, before attackers have found many: in ten seeds attack success rose again by .15 or more in two,
  at this rate in all ten (seeds 1 to 10, `bipolicy`).
* Once attacks fail, nearly all games pay the same: the floor keeps what is left of the scale from becoming
  full-size advantages.

``--callback exact,novelty`` pays attackers for looking elsewhere, too: they find hidden forms sooner, often before the
first wave is over.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from redteam_env.protocols import WorldOptions
from redteam_env.worlds.apothecary.levels import APOTHECARY, COUPLED, EASY, HARD

TRAINING: Mapping[str, Any] = MappingProxyType(
    {
        "rewards": "self_redteam",
        "faithfulness_gate": -1.5,
        "drop_unfaithful": True,
        "benign_refusal_weight": 6.0,
        "rewrite_fraction": 0.75,
        "thinking": "none",
        "algorithm": "reinforce_pp",
        "steps": 90,
        "games": 64,
        "checkpoint_every": 10,
        "rank": 16,
        "max_new_tokens": 24,
        "lr": 5e-4,
        "defender_lr": 1.5e-4,
        "attacker_kl": 0.01,
        "defender_kl": 0.05,
        "warmup_steps": 5,
        "minibatch": 8,
        "scale_floor": 0.5,
        "callback": "exact",
    }
)
"""Options of training; those of seeds, judge, prompts and model are the world's name."""

ARRANGEMENTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # whole models break at the rates of adapters
        "shared_full": {"lr": 1e-4, "defender_lr": 3e-5},
        "independent": {"lr": 1e-4, "defender_lr": 3e-5},
    }
)


def apothecary() -> WorldOptions:
    """Return the settings of the world in which both roles have instructions of their own."""
    return _options(APOTHECARY)


def easy() -> WorldOptions:
    """Return the settings of the world whose rare forms are found soon."""
    return _options(EASY)


def hard() -> WorldOptions:
    """Return the settings of the world whose rare forms are found late."""
    return _options(HARD)


def coupled() -> WorldOptions:
    """Return the settings of the world in which both roles share one instruction."""
    return _options(COUPLED)


def _options(model: str) -> WorldOptions:
    """Return the settings of a world by its embedded model, whose instruction texts are used, too.

    All of them have the same language, and so the same seeds and judge.
    """
    named = {"model": model, "prompts": model, "seeds": APOTHECARY, "judge": APOTHECARY}
    return WorldOptions(
        options={**named, **TRAINING}, arrangements=dict(ARRANGEMENTS), of_judge=("callback",)
    )
