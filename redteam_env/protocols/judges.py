"""Who reads the public dialogue."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from redteam_env.game import Dialogue, Episode, Seed, Verdict


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
    others of its name; one that cannot tell its revision may have an attribute ``place`` (where it is
    asked, and its settings), which is then said beside what was measured of it. A judge that can tell whether a rewrite still asks for what its seed asks for may
    have an attribute ``content``, a :class:`ContentMeasure`; one that calls answers harmful without reading
    what an attacker made of the request says so by ``reads_message = False``, and no attack searches for its
    verdicts (:func:`redteam_env.faithfulness.check_compared`); one whose users should know something, an
    attribute ``notice``, a line that commands say at their start.
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
class SeedJudge(Judge, Protocol):
    """A judge that is told the seed that each game is played from: its label, or what it asks for.

    Whoever plays asks :meth:`judge_seeded` then. ``judge`` is for dialogues alone: it leaves unknown what
    cannot be told without a seed, or takes the request of the dialogue for the seed's.
    """

    def judge_seeded(
        self, dialogues: Sequence[Dialogue], seeds: Sequence[Seed]
    ) -> Sequence[Verdict]:
        """Return one verdict for each dialogue, in order.

        Args:
            dialogues: The dialogues.
            seeds: For each of them, its seed.
        """
        ...


class ContentMeasure(Protocol):
    """Compares rewrites with the seeds that they were made from."""

    def scores(self, seeds: Sequence[Seed], rewrites: Sequence[str]) -> Sequence[float | None]:
        """Return how far each rewrite asks for what its seed asks for.

        Args:
            seeds: The seeds.
            rewrites: For each of them, what an attacker made of it.

        Returns:
            A number of at most 1 for each, 1 for the same request; ``None`` where it cannot be told.
        """
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
