"""The game in the trainers and evaluators of others: cases to answer, and scores of the answers.

:class:`SeatTask` carries them all. Each library's own form is a module that needs the library:
``bridges.trl``, ``bridges.inspect``, ``bridges.verifiers``, ``bridges.openenv``.
"""

from redteam_env.bridges.cases import Case, Score, SeatTask

__all__ = ["Case", "Score", "SeatTask"]
