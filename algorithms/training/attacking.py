"""What standing attacks at a seat of a run cost, logged beside what its own games do."""

import dataclasses
from collections.abc import Sequence

from algorithms.core.ranks import current
from redteam_env.attacks.agent import AttackAgent, Cost
from redteam_env.protocols import Agent, Callback, Row


class AttackMeter(Callback):
    """Logs the private attempts of standing attacks: queries, and the tokens that models sampled in them.

    The tokens count towards the run's ``max_tokens``. Of several processes all are counted together.

    Args:
        agents: Agents of the run; those that are no standing attacks are passed over.
    """

    def __init__(self, agents: Sequence[Agent]) -> None:
        self._costs = [agent.cost for agent in agents if isinstance(agent, AttackAgent)]
        self._before = self._read()

    def on_update(self, step: int, row: Row) -> None:
        """Add what was taken since the last step, as ``attack/target_queries`` and so on."""
        if not self._costs:
            return
        before, self._before = self._before, self._read()
        for name, value in self._before.items():
            row[f"attack/{name}"] = value - before[name]

    def _read(self) -> dict[str, int]:
        parts = current().gather(_sum(self._costs)) if self._costs else [_sum(())]
        return {name: sum(part[name] for part in parts) for name in parts[0]}


def _sum(costs: Sequence[Cost]) -> dict[str, int]:
    total = Cost()
    for cost in costs:
        total.add(cost.queries, cost.tokens)
    queries = total.queries
    named = {f"{x.name}_queries": getattr(queries, x.name) for x in dataclasses.fields(queries)}
    named["unread"] = named.pop("unread_queries")
    return {**named, "tokens": total.tokens}
