"""Further games that an algorithm asks for while it updates."""

from collections.abc import Mapping, Sequence

from algorithms.training.loop import Training
from algorithms.training.metrics import sampled
from algorithms.training.processes import play_shared
from redteam_env.border.policies import agent_of
from redteam_env.game import Episode, role_of, unknown_name
from redteam_env.protocols import Agent, GameSetup, Row
from redteam_env.rollout import schedule


class RunRollout:
    """Plays games of a run's step: :class:`redteam_env.protocols.Rollout`.

    Args:
        run: The run.
    """

    def __init__(self, run: Training) -> None:
        self._run = run
        self._games = self._tokens = 0

    @property
    def step(self) -> int:
        """The training step."""
        return self._run.step

    def schedule(self, games: int, name: str) -> list[GameSetup]:
        """Draw games from the run's seeds and shares."""
        config = self._run.config
        return schedule(
            self._run.source,
            games,
            path=(config.run.seed, "step", self.step, "rollout", name),
            benign_fraction=config.game.benign_fraction,
            rewrite_fraction=config.game.rewrite_fraction,
        )

    def play(
        self, setups: Sequence[GameSetup], agents: Mapping[str, Agent] | None = None
    ) -> list[Episode]:
        """Play games; in several processes each plays its share of them."""
        run, given = self._run, dict(agents or {})
        for seat in given:
            if seat not in run.game.seats:
                raise unknown_name("seat", seat, run.game.seats)
        players = {
            seat: given.get(seat)
            or run.fixed.get(role_of(seat))
            or agent_of(run.policy, role_of(seat))
            for seat in run.game.seats
        }
        episodes = play_shared(run, setups, players)
        self._games += len(episodes)
        self._tokens += sampled(episodes)
        return episodes

    def row(self) -> Row:
        """Return what was played, as it is logged; nothing if nothing was."""
        if not self._games:
            return {}
        return {"rollout/games": self._games, "rollout/tokens": self._tokens}
