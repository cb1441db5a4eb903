"""A few turns before the first step: does the model play this game at all, in these texts and this length?

A base model may be cut off in the middle of its turns, copy its instruction, refuse to attack or lose the
format, and a run then learns from that for hours. So the policy plays some turns of each seat first: the
attacker rewrites seeds, the defender answers raw ones. Nothing is learned from them and nobody judges
them. They have random streams of their own, so that a run is the same with and without them.
"""

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from redteam_env.border.agents import drafts
from redteam_env.border.policies import agent_of
from redteam_env.game import DEFENDER, Game, RedteamError, Turn, role_of
from redteam_env.game.prompts import REQUEST_SLOT
from redteam_env.judges.lexical import is_refusal
from redteam_env.protocols import Drafter, SeedSource, TurnRequest
from redteam_env.rollout import apply_reply, ask, schedule, turn_request

FIT = 0.9
"""The share of turns that the token budget is to fit."""
LONG = 6
"""Words in a row that an answer and its instruction share by copying only."""
MOST_TOKENS = 2048
LEAST_TOKENS = 256
TIMES_LONGER = 4
"""A turn that was cut is tried at so many times its limit, but between these two numbers of tokens."""
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatPreflight:
    """What the turns of one seat were like; shares are of those that did not fail.

    Attributes:
        turns: Turns played.
        failed: Turns without an answer, because a server failed for example.
        cut: Share that a limit cut.
        echoed: Share that copies at least six words in a row of the seat's instruction.
        copied: Share of all runs of six words in the instruction that a turn copies, on average.
        refused: Share that refuses, by the phrases of :func:`redteam_env.judges.lexical.is_refusal`.
        malformed: Share that breaks the think-answer format.
        budget: The fewest tokens that fit 90 % of the turns; ``None`` if that is not known.
        tried: The tokens up to which that was tried; 0 if the policy cannot say how long its turns would be.
        must_think: Whether every turn needs the format, which one that is cut breaks.
    """

    turns: int
    failed: int
    cut: float
    echoed: float
    copied: float
    refused: float
    malformed: float
    budget: int | None
    tried: int
    must_think: bool

    def fits(self, max_new_tokens: int) -> bool:
        """Whether a limit is known to be enough for 90 % of the turns, or nothing is known."""
        return self.tried == 0 or (self.budget is not None and self.budget <= max_new_tokens)

    @property
    def needed(self) -> str:
        """The tokens that a turn needs, in words."""
        if self.budget is not None:
            return str(self.budget)
        return f"more than {self.tried}" if self.tried else "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """What the turns before the first step were like.

    Attributes:
        seats: By role.
        max_new_tokens: The limit that they were played with, if the policy's settings name one.
    """

    seats: Mapping[str, SeatPreflight]
    max_new_tokens: int | None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """Yield what to tell a user, a line for each seat and each thing to change."""
        for role, seat in self.seats.items():
            yield (
                f"{role}, {seat.turns} turns: {seat.cut:.0%} cut, {seat.echoed:.0%} "
                f"echo the rules, {seat.refused:.0%} refuse, {seat.malformed:.0%} break the format"
                + (f", {seat.failed} failed" if seat.failed else "")
                + f"; tokens that fit {FIT:.0%}: {seat.needed}."
            )
        if short := self.short():
            yield (
                f"Warning: max_new_tokens is {self.max_new_tokens}, which cuts turns of the "
                f"{' and the '.join(short)}; fitting {FIT:.0%} of them takes {self.enough()} tokens."
            )
        for role, seat in self.seats.items():
            if seat.echoed >= 1 / 4:
                yield (
                    f"Warning: {seat.echoed:.0%} of the {role}'s turns copy its instruction; try --prompts "
                    "example, or another model."
                )

    def short(self, *, must_think: bool = False) -> list[str]:
        """Return the roles whose turns do not fit the limit.

        Args:
            must_think: Whether to return only those whose every turn needs the format.
        """
        limit = self.max_new_tokens
        if limit is None:
            return []
        seats = self.seats.items()
        return [x for x, y in seats if not y.fits(limit) and (y.must_think or not must_think)]

    def enough(self) -> str:
        """Return the tokens that all seats need, in words."""
        known = [x.budget for x in self.seats.values() if x.budget is not None]
        open_ends = [x.tried for x in self.seats.values() if x.budget is None and x.tried]
        return f"more than {max(open_ends)}" if open_ends else str(max(known, default=0))

    def check(self) -> None:
        """Refuse a token limit that cuts the turns of a seat that must think.

        Raises:
            RedteamError: If fewer than 90 % of such a seat's turns fit.
        """
        if short := self.short(must_think=True):
            known = [self.seats[x].budget or 2 * self.seats[x].tried for x in short]
            raise RedteamError(
                f"thinking is required, and a turn that is cut breaks the format: at max_new_tokens = "
                f"{self.max_new_tokens} fewer than {FIT:.0%} of the turns of the {' and the '.join(short)} "
                f"end in time. Give --max-new-tokens {max(known)}, or --force to train all the same."
            )


def preflight(
    policy: Any,
    game: Game,
    source: SeedSource,
    *,
    turns: int = 8,
    seed: int = 0,
    max_new_tokens: int | None = None,
    benign_fraction: float = 0.5,
    roles: Collection[str] | None = None,
) -> Preflight:
    """Let a policy play some turns of each seat, and say what they are like.

    Args:
        policy: The policy, with the weights that it would start from.
        game: The rules and the instruction texts.
        source: Where seeds come from.
        turns: Turns a seat.
        seed: Chooses seeds and sampling.
        max_new_tokens: The policy's limit; by default that of its settings, if they name one.
        benign_fraction: Share of benign seeds.
        roles: The roles to look at; by default all.

    Returns:
        A report. Seats that never move first, such as that of a judge, are not in it.

    Raises:
        RedteamError: If a seed cannot be drawn or the policy fails.
    """
    if max_new_tokens is None:
        max_new_tokens = getattr(getattr(policy, "config", None), "max_new_tokens", None)
    found = {}
    for seat, rewritten in ((game.seats[0], True), (DEFENDER, False)):
        role = role_of(seat)
        if roles is not None and role not in roles:
            continue
        setups = schedule(
            source,
            turns,
            path=(seed, "preflight", role),
            benign_fraction=benign_fraction,
            rewrite_fraction=float(rewritten),
        )
        found[role] = _seat(policy, game, role, setups, max_new_tokens)
    return Preflight(seats=found, max_new_tokens=max_new_tokens)


def _seat(
    policy: Any, game: Game, role: str, setups: Sequence[Any], limit: int | None
) -> SeatPreflight:
    states = [game.start(x.seed, rewritten=x.rewritten) for x in setups]
    requests = [turn_request(game, x, y.path) for x, y in zip(states, setups, strict=True)]
    agent = agent_of(policy, role)
    replies = ask(agent, requests)
    played = [
        apply_reply(game, state, reply).turns[-1]
        for state, reply in zip(states, replies, strict=True)
    ]
    answered = [k for k, turn in enumerate(played) if turn.error is None]
    copied = []
    for k in answered:
        rules = game.rules_text(states[k], requests[k].seat)
        copied.append(_copied(rules, played[k].visible or played[k].text))
    own = [played[k] for k in answered]
    budget, tried = _budget(agent, [requests[k] for k in answered], own, limit)
    return SeatPreflight(
        turns=len(played),
        failed=len(played) - len(own),
        cut=_share(_is_cut(x) for x in own),
        echoed=_share(x > 0 for x in copied),
        copied=sum(copied) / max(1, len(copied)),
        refused=_share(is_refusal(x.visible) for x in own),
        malformed=_share(not x.well_formed for x in own),
        budget=budget,
        tried=tried,
        must_think=game.must_think(requests[0].seat),
    )


def _is_cut(turn: Turn) -> bool:
    tokens = turn.generation
    return turn.truncated or (tokens is not None and not tokens.finished)


def _share(marks: Iterable[bool]) -> float:
    found = list(marks)
    return sum(found) / max(1, len(found))


def _copied(rules: str, answer: str) -> float:
    """Return the share of an instruction's runs of six words that stand in an answer, too."""
    ours = {x for part in rules.split(REQUEST_SLOT) for x in _runs(part)}
    return len(ours & set(_runs(answer))) / max(1, len(ours))


def _runs(text: str) -> Iterator[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    return (tuple(words[k : k + LONG]) for k in range(len(words) - LONG + 1))


def _budget(
    agent: Any, requests: Sequence[TurnRequest], turns: Sequence[Turn], limit: int | None
) -> tuple[int | None, int]:
    """Return the tokens that fit 90 % of the turns, and how many were tried.

    Turns that were cut are written once more with a higher limit, from the same random streams.
    """
    generations = [x.generation for x in turns]
    if limit is None or not turns or any(x is None for x in generations):
        return None, 0
    lengths = [
        len(x.completion_ids) if x.finished else math.inf for x in generations if x is not None
    ]
    tried = limit
    cut = [k for k, length in enumerate(lengths) if length == math.inf]
    if cut and isinstance(agent, Drafter):
        most = max(limit, min(MOST_TOKENS, max(LEAST_TOKENS, TIMES_LONGER * limit)))
        longer = drafts(agent, [requests[k] for k in cut], max_new_tokens=most)
        for k, draft in zip(cut, longer, strict=True):
            if draft.finished:
                lengths[k] = len(draft.completion_ids)
        tried = max(limit, *(len(x.completion_ids) for x in longer))
    budget = sorted(lengths)[math.ceil(FIT * len(lengths)) - 1]
    return (None if budget == math.inf else int(budget)), tried
