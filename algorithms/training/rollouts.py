"""Further games that an algorithm asks for while it updates."""

from collections.abc import Mapping, Sequence

from algorithms.training.loop import Training
from algorithms.training.metrics import sampled
from algorithms.training.processes import gather_episodes
from redteam_env.game import Episode, role_of
from redteam_env.protocols import Agent, GameSetup, Row
from redteam_env.rollout import play, schedule


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
        run = self._run
        given = dict(agents or {})
        places = run.ranks.share([1.0] * len(setups))
        own = play(
            [setups[k] for k in places],
            {seat: given.get(seat) or run.policy.agent(role_of(seat)) for seat in run.game.seats},
            run.judge,
            game=run.game,
            batch_size=run.config.generation_batch,
            progress=run.callbacks.on_progress,
        )
        episodes, _ = gather_episodes(run.ranks, own, 0.0)
        order = {setup.path: k for k, setup in enumerate(setups)}
        episodes.sort(key=lambda episode: order[episode.path])
        self._games += len(episodes)
        self._tokens += sampled(episodes)
        return episodes

    def row(self) -> Row:
        """Return what was played, as it is logged; nothing if nothing was."""
        if not self._games:
            return {}
        return {"rollout/games": self._games, "rollout/tokens": self._tokens}
