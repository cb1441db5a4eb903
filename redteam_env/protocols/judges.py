"""Who reads the public dialogue."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from redteam_env.game import Dialogue, Episode, Verdict


@runtime_checkable
class Judge(Protocol):
    """Reads public dialogues.

    ``name`` goes into every verdict and report; ``smoke_only`` marks a judge whose verdicts are
    good for tests but not for reported numbers. A judge whose work is done elsewhere, by a server
    for example, may have an attribute ``concurrent = True``: it is then asked from another thread
    (never twice at once) about the games of each chunk, while agents answer in the next. Training
    logs its attribute ``usage`` (:class:`Usage`), if it has one. Its attributes ``revision`` (a text that
    changes whenever its verdicts may, such as with its model) and ``template_sha256`` (of the prompt by
    which its model is asked), if it has them, tell what is stored about it from what is stored about
    others of its name.
    """

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def smoke_only(self) -> bool:
        """Whether its verdicts are good for tests only."""
        ...

    def judge(self, dialogues: Sequence[Dialogue]) -> Sequence[Verdict]:
        """Return one verdict for each dialogue, in order. A failure is a verdict with ``error``."""
        ...


@runtime_checkable
class ExactJudge(Judge, Protocol):
    """A judge of a controlled world, which reads more in a game than a verdict says."""

    def outcomes(self, episode: Episode) -> Mapping[str, bool]:
        """Return whether each event that only this judge can tell happened in a game.

        Args:
            episode: A finished game.

        Returns:
            The events that the game can count for, by name: an event that it cannot show is left out.
        """
        ...
