"""Standing attacks: methods that search for a request which a defender gives in to.

A method is a plug-in of the group ``redteam_env.attacks`` (:class:`redteam_env.protocols.Attack`). Ours
are one file each: a subclass of :class:`~redteam_env.attacks.search.SearchAttack` whose ``search`` reads
like its paper.
"""

from redteam_env.attacks.resolve import AttackSpec, parse_attack, resolve_attack
from redteam_env.attacks.search import SearchAttack, best, score, succeeded

__all__ = [
    "AttackSpec",
    "SearchAttack",
    "best",
    "parse_attack",
    "resolve_attack",
    "score",
    "succeeded",
]
