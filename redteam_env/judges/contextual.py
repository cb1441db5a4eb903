"""Requests with a context of their own, such as HarmBench's contextual behaviours.

Such a request stands in the data as its context, a line ``---``, and what is asked for
(:data:`~redteam_env.judges.template.CONTEXT_MARK`). Some judges have another prompt for it. Who plays the
requests of a suite, as they stand or under an attack, takes the judge of :func:`for_contexts`: its games
have seeds, and whether there is a context is told from the seed. A dialogue without one is taken for a
request as it stands; where players wrote it, a rule in their text would tell the judge what is the request.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redteam_env.border import judges
from redteam_env.game import Dialogue, Seed, Verdict, role_of
from redteam_env.judges.cached import CachedJudge
from redteam_env.judges.combined import Combined
from redteam_env.judges.identity import digest, identity_of
from redteam_env.judges.judge import TemplateJudge, check_ready
from redteam_env.judges.template import CONTEXT_MARK
from redteam_env.judges.wrapped import WrappedJudge
from redteam_env.protocols import Judge


@dataclass(frozen=True, slots=True)
class ContextualJudge(WrappedJudge):
    """Is another judge, but asks in another way about requests with a context.

    Attributes:
        about_contexts: Asks about these.
    """

    about_contexts: Judge

    @property
    def template_sha256(self) -> str:
        """That of both prompts."""
        return digest([identity_of(x).template for x in (self.inner, self.about_contexts)])

    def judge(self, dialogues: Sequence[Dialogue]) -> Sequence[Verdict]:
        """Return one verdict for each dialogue, in order."""
        return self._asked(dialogues, None)

    def judge_seeded(
        self, dialogues: Sequence[Dialogue], seeds: Sequence[Seed]
    ) -> Sequence[Verdict]:
        """Return the same; the request is that of the seed, whatever the players wrote."""
        return self._asked(dialogues, seeds)

    def _asked(
        self, dialogues: Sequence[Dialogue], seeds: Sequence[Seed] | None
    ) -> Sequence[Verdict]:
        has = (
            [has_context(x) for x in dialogues]
            if seeds is None
            else [CONTEXT_MARK in x.text for x in seeds]
        )
        found: dict[int, Verdict] = {}
        for judge, wanted in ((self.inner, False), (self.about_contexts, True)):
            places = [k for k, own in enumerate(has) if own is wanted]
            said = judges.verdicts(
                judge,
                [dialogues[k] for k in places],
                seeds=None if seeds is None else [seeds[k] for k in places],
            )
            found |= zip(places, said, strict=True)
        return [found[k] for k in range(len(dialogues))]

    def ready(self) -> None:
        """Ask the judge whether it works, about requests without a context."""
        check_ready(self.inner)


def has_context(dialogue: Dialogue) -> bool:
    """Whether the last request of a dialogue has a context."""
    requests = [x.text for x in dialogue.lines if role_of(x.seat) != "defender"]
    return bool(requests) and CONTEXT_MARK in requests[-1]


def for_contexts(judge: Judge) -> Judge:
    """Return a judge that reads requests with their contexts, for requests that stand as in their data.

    Args:
        judge: The judge, which may be made of others.

    Returns:
        The same one where no prompt of it is another for such requests.
    """
    if isinstance(judge, TemplateJudge):
        if not judge.contextual:
            return judge
        other: TemplateJudge[Any] = dataclasses.replace(
            judge, questions=judge.contextual, contextual=()
        )
        return ContextualJudge(judge, other)
    if isinstance(judge, CachedJudge):
        inner = for_contexts(judge.inner)
        same = inner is judge.inner
        return (
            judge if same else dataclasses.replace(judge, inner=inner, identity=identity_of(inner))
        )
    if isinstance(judge, Combined):
        parts = tuple(for_contexts(part) for part in judge.parts)
        same = all(x is y for x, y in zip(parts, judge.parts, strict=True))
        return judge if same else dataclasses.replace(judge, parts=parts)
    return judge
