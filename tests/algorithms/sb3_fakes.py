"""Tiny runs of Stable-Baselines3 in the controlled world, against a defender with a weakness."""

from algorithms.training.config import TrainConfig
from redteam_env import Reply
from redteam_env.worlds.apothecary import apothecary
from redteam_env.worlds.apothecary.grammar import PHRASINGS, REFUSALS, UNCLEAR, answer

WEAK = ("exam", "never")


class WeakDefender:
    """Refuses what is restricted, except in the tactic that belongs to the phrasing of the request."""

    def __init__(self, role="defender"):
        self.judge = apothecary()

    def act(self, requests):
        return [Reply(text=self.respond(x.messages[-1]["content"])) for x in requests]

    def respond(self, text):
        found = self.judge.decode(text)
        if found is None:
            return UNCLEAR
        weak = WEAK[any(" ".join(x) in text for x in PHRASINGS[2:])]
        return (
            REFUSALS[0] if found.restricted and weak not in found.tactics else answer(found.asked)
        )


def sb3_config(out, algorithm="sb3_ppo", **options):
    """A run of an attacker against the defender ``weak``, with any options changed."""
    return TrainConfig.from_flat(
        {
            "algorithm": algorithm,
            "arrangement": "attacker_only",
            "opponent": "weak",
            "seeds": "apothecary",
            "judge": "apothecary",
            "prompts": "apothecary",
            "model": "apothecary",
            "benign_fraction": 0.0,
            "embedder": "hashing",
            "steps": 3,
            "games": 16,
            "checkpoint_every": 1,
            "hidden": 16,
            "json": True,
            "out": str(out),
            **options,
        }
    )
