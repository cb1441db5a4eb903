"""Supervised examples from a model's own answers: asked, cleaned by a judge, with thoughts filled in."""

from redteam_env.distil.examples import DistilConfig, distil
from redteam_env.distil.store import EXAMPLES, Outcome, Store

__all__ = ["EXAMPLES", "DistilConfig", "Outcome", "Store", "distil"]
