"""What a run logs: one row a step, from the episodes and from the algorithm.

Rewards stand beside advantages, because centred advantages look well while everything fails; rates
are those of :mod:`redteam_env.evaluation`, so that training and evaluation speak of the same things.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from redteam_env.evaluation import measure
from redteam_env.game import Episode, RedteamError, role_of
from redteam_env.protocols import Row
from redteam_env.runs import Run

SHARES = (
    "attack_success",
    "label_drift",
    "faithfulness",
    "faithful_rewrites",
    "over_refusal_raw",
    "harmful_refusal",
)
DISAGREES = "judge/disagrees_with_seed"
"""The share of raw games on whose request the judge says otherwise than the seed's label."""


def episode_metrics(
    episodes: Sequence[Episode],
    seats: Sequence[str],
    lessons: Sequence[Episode] | None = None,
    *,
    scripted: Mapping[int, str] = MappingProxyType({}),
) -> Row:
    """Summarise the games of a step.

    Args:
        episodes: The games as they were played.
        seats: The seats.
        lessons: The games as they are learned from; by default as they were played.
        scripted: The groups of games in which a scripted opponent plays, and its role. These games are
            counted, but no rate is taken over them, and a script's turns are no turns of its role.

    Returns:
        ``game/...``: numbers of games, void games, forfeits, sampled tokens, and rates (``None``
        without games); ``judge/disagrees_with_seed``;
        ``ROLE/...``: over the games the role may learn from, mean reward and components, and
        ``signal``, the share whose reward is not the most common one (at 0 all paid the same, and there
        is nothing to learn); over all its turns that did not fail, the length in tokens, shares of
        format violations, of turns cut at a limit, and for the attacker of rewrites that refuse to
        attack.
    """
    learned = episodes if lessons is None else lessons
    rates = measure([e for e in episodes if e.group not in scripted])
    void = sum(e.void is not None for e in episodes)
    row: Row = {"game/games": len(episodes), "game/void": void}
    row["game/tokens"] = sampled(episodes)
    row |= {f"game/{name}": getattr(rates, name).value for name in SHARES}
    row[DISAGREES] = _mean(disagreements(episodes))
    for seat in seats:
        role = role_of(seat)
        paid = [e for e in learned if seat in e.samples]
        own = [e for e in episodes if scripted.get(e.group) != role]
        turns = [t for e in own for t in e.turns if t.seat == seat and t.error is None]
        tokens = [len(t.generation.completion_ids) for t in turns if t.generation]
        cut = [
            t.truncated or (t.generation is not None and not t.generation.finished) for t in turns
        ]
        row[f"{role}/samples"] = len(paid)
        row[f"{role}/turns"] = len(turns)
        rewards = [e.rewards[seat] for e in paid]
        row[f"{role}/reward"] = _mean(rewards)
        row[f"{role}/signal"] = _signal(rewards)
        row[f"{role}/length"] = _mean(tokens)
        row[f"{role}/format_violations"] = _mean([not turn.well_formed for turn in turns])
        row[f"{role}/forfeits"] = _mean([turn.forfeit for turn in turns])
        row[f"{role}/truncated"] = _mean(cut)
        for name in sorted({name for e in paid for name in e.components[seat]}):
            values = [e.components[seat].get(name, 0.0) for e in paid]
            row[f"{role}/component/{name}"] = _mean(values)
    row["attacker/refusal_to_attack"] = rates.attacker_refusal.value
    return row


def disagreements(episodes: Sequence[Episode]) -> list[bool]:
    """Return for each raw game whose request the judge has read whether it says otherwise than the seed."""
    read = [(x.verdict, x.seed.harmful) for x in episodes if not x.rewritten]
    return [
        verdict.prompt_harmful is not harmful
        for verdict, harmful in read
        if verdict is not None and verdict.error is None and verdict.prompt_harmful is not None
    ]


def sampled(episodes: Sequence[Episode]) -> int:
    """Return the tokens that models of this process sampled in games, of all seats; failed turns too."""
    turns = [t.generation for e in episodes for t in e.turns if t.generation]
    return sum(len(x.completion_ids) for x in turns)


def sampled_before(run: Run, step: int) -> float:
    """Return the tokens that a run sampled before a step, those of its league's own games included.

    Args:
        run: The run directory.
        step: The step.
    """
    rows = run.rows()
    return sum(step_tokens(row) for row in rows if row["step"] < step)


def check_counted(run: Run, step: int) -> None:
    """Refuse to count the tokens of a run whose steps do not tell them.

    Raises:
        RedteamError: If a step before ``step`` was logged before tokens were.
    """
    rows = run.rows()
    if any("game/tokens" not in row for row in rows if row["step"] < step):
        raise RedteamError(
            f"{str(run.path)!r} was begun by a version that logged no tokens, so max_tokens cannot be "
            "kept; leave it out, or give another --out."
        )


def step_tokens(row: Mapping[str, Any]) -> float:
    """Return the tokens that were sampled in a step, those of further games included."""
    return sum(
        float(row.get(f"{kind}/tokens") or 0) for kind in ("game", "league", "rollout", "attack")
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _signal(rewards: Sequence[float]) -> float | None:
    """Return the share of rewards that are not the most common one."""
    counts = Counter(round(reward, 9) for reward in rewards)  # equal but for the order of a sum
    return 1 - max(counts.values()) / len(rewards) if rewards else None
