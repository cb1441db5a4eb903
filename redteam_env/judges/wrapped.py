"""What a judge that stands before another one passes on."""

from dataclasses import dataclass

from redteam_env.border.judges import content_of, is_concurrent, notice, reads_message
from redteam_env.judges.identity import identity_of
from redteam_env.protocols import ContentMeasure, Judge, Usage


@dataclass(frozen=True, slots=True)
class WrappedJudge:
    """Is, to all who ask, the judge behind it.

    Attributes:
        inner: That judge.
    """

    inner: Judge

    @property
    def name(self) -> str:
        """The other judge's name."""
        return self.inner.name

    @property
    def smoke_only(self) -> bool:
        """Whether the other judge is for tests only."""
        return self.inner.smoke_only

    @property
    def concurrent(self) -> bool:
        """Whether agents may go on while the other judge is asked."""
        return is_concurrent(self.inner)

    @property
    def usage(self) -> Usage | None:
        """What the other judge took so far."""
        return getattr(self.inner, "usage", None)

    @property
    def content(self) -> ContentMeasure | None:
        """How the other judge compares rewrites with their seeds, if it can."""
        return content_of(self.inner)

    @property
    def reads_message(self) -> bool:
        """Whether the other judge reads what an attacker made of the request."""
        return reads_message(self.inner)

    @property
    def notice(self) -> str | None:
        """What users of the other judge should know."""
        return notice(self.inner)

    @property
    def revision(self) -> str:
        """The other judge's."""
        return identity_of(self.inner).revision

    @property
    def template_sha256(self) -> str:
        """The other judge's."""
        return identity_of(self.inner).template

    @property
    def place(self) -> str:
        """The other judge's."""
        return identity_of(self.inner).place
