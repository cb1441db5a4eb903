"""The run's side of a league: frozen versions on disk, who plays a game, who learns from it.

An opponent sampler decides (:mod:`algorithms.opponents`); this does what it asks for. Frozen versions are
folders ``opponents/NAME@VERSION`` of the run directory that never change; a checkpoint names those it
needs, with the SHA-256 of every file, and holds the sampler's state (for PSRO the pay-off matrix) and the
games against scripted opponents (:mod:`algorithms.training.scripted`) in ``league.json``. A version that neither the run nor any checkpoint names is removed.
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from algorithms.training.config import SELF_PLAY, START, RunConfig, TrainConfig
from algorithms.training.metrics import sampled
from algorithms.training.replay import payoff
from algorithms.training.scripted import ScriptedOpponents, is_scripted, sampler_of
from algorithms.training.versions import Versions
from redteam_env.border import opponents as border
from redteam_env.border.policies import agent_of, past_agent, tell, version
from redteam_env.evaluation import Dispatcher
from redteam_env.game import Episode, Game, RedteamError, role_of
from redteam_env.protocols import (
    Agent,
    AnchoredPolicy,
    Callback,
    GameSetup,
    Judge,
    LeaguePolicy,
    Match,
    OpponentSampler,
    Result,
    Row,
    SeedSource,
    TrainablePolicy,
    TrainingRun,
)
from redteam_env.randomness import Address
from redteam_env.registry import load, make, require
from redteam_env.rollout import play, schedule
from redteam_env.runs import LEAGUE, Run, read_league, write_league
from redteam_env.trust import check_links


class RunLeague(Callback):
    """A run's league; what a sampler may ask of it is :class:`redteam_env.protocols.League`.

    Args:
        config: The run.
        policy: What is trained.
        game: The rules.
        source: Where seeds come from.
        judge: Who reads the games.
        directory: The run directory.
        scripted: The scripted agents of each role, by specification.
        resumed: The checkpoint that the run goes on from.

    Raises:
        RedteamError: If the sampler cannot be made, or the policy or the arrangement cannot have a
            league; if that of the checkpoint or a frozen version is missing, or one was altered.
    """

    def __init__(
        self,
        config: TrainConfig,
        *,
        policy: TrainablePolicy,
        game: Game,
        source: SeedSource,
        judge: Judge,
        directory: Path,
        scripted: Mapping[str, Mapping[str, Agent]] = MappingProxyType({}),
        resumed: Path | None = None,
    ) -> None:
        self._config = config
        self._scripted = ScriptedOpponents(config.scripted, scripted, seed=config.run.seed)
        self._policy = policy
        self._game = game
        self._source = source
        self._judge = judge
        self._run = Run(directory)
        self._versions = Versions(self._run.opponents_folder)
        self._matches: dict[int, Match] = {}
        self._own_games: dict[str, float] = {}
        self._results: list[Result] = []
        self._asked: set[str] = set()
        if self._name != SELF_PLAY:
            _league_policy(policy, f"--opponents {config.run.opponents}")
        self._sampler = self._make_sampler()
        if resumed is not None:
            self._restore(resumed)

    def _make_sampler(self) -> OpponentSampler:
        name = self._name
        factory = load("opponents", name)
        options = {"league": self, "seed": self._config.run.seed}
        sampler: OpponentSampler = make("opponents", name, factory, self._config.sampler, **options)
        for method in border.METHODS:
            require(sampler, method, f"opponent sampler {name!r}")
        return sampler

    @property
    def _name(self) -> str:
        return sampler_of(self._config.run.opponents)

    @property
    def weights(self) -> Mapping[str, str]:
        """The name of the current weights behind each trained role."""
        return {role: self._policy.weights_of(role) for role in self._policy.trainable_roles}

    def freeze(self, weights: str) -> str:
        """Keep named weights as they are now; return the name of this version."""
        policy = _league_policy(self._policy, "this opponent sampler")
        name = f"{weights}@{version(policy, weights)}"
        self._versions.add(name, lambda place: tell(policy, "write_weights", weights, place))
        return name

    def drop(self, version: str) -> None:
        """Forget a frozen version; its files go when no checkpoint names them."""
        self._versions.drop(version)

    def recall(self, version: str) -> None:
        """Put a frozen version in the place of the current weights."""
        policy = _league_policy(self._policy, "this opponent sampler")
        tell(policy, "read_weights", _split(version)[0], self._versions.place(version))

    def breed(self, parents: Sequence[str], *, noise: float, path: Address) -> str:
        """Put a child of frozen versions in the place of the current weights, and freeze it."""
        policy = _league_policy(self._policy, "this opponent sampler")
        weights = _split(parents[0])[0]
        places = [self._versions.place(parent) for parent in parents]
        tell(policy, "breed_weights", weights, places, noise=noise, path=path)
        return self.freeze(weights)

    def play(self, players: Mapping[str, str], games: int, *, path: Address) -> list[Result]:
        """Play rewritten games that nobody learns from; void games are left out."""
        setups = schedule(
            self._source,
            games,
            path=path,
            benign_fraction=self._config.game.benign_fraction,
            rewrite_fraction=1.0,
        )
        episodes = play(
            setups,
            {
                seat: self._agent(role_of(seat), players[role_of(seat)])
                for seat in self._game.seats
                if role_of(seat) in players
            },
            self._judge,
            game=self._game,
            batch_size=self._config.generation_batch,
        )
        for name, count in (("games", len(episodes)), ("tokens", sampled(episodes))):
            self._own_games[f"league/{name}"] = self._own_games.get(f"league/{name}", 0) + count
        return [_result(episode, players) for episode in episodes if episode.void is None]

    def _agent(self, role: str, name: str) -> Agent:
        if is_scripted(name):
            return self._scripted.agent(role, name)
        if "@" not in name:
            return agent_of(self._policy, role)
        policy = _league_policy(self._policy, "a frozen version")
        weights, number = _split(name)
        place = self._versions.place(name)
        return past_agent(policy, role, place, weights=weights, version=number)

    def on_start(self, run: TrainingRun) -> None:
        """Take note of the run."""
        self._training = run

    def setups(self, step: int, setups: Sequence[GameSetup]) -> Sequence[GameSetup]:
        """Ask for a match for each group of a step's games.

        Raises:
            RedteamError: If the sampler gives another number of matches than groups, or lets a role
                learn that the current weights do not play.
        """
        groups = {setup.group: setup.rewritten for setup in setups}
        rewritten = list(groups.values())
        matches: Sequence[Match] = border.matches(
            self._sampler, self._name, step, rewritten, self.weights
        )
        matches = self._scripted.mixed(step, matches, rewritten)
        self._matches = dict(zip(groups, matches, strict=True))
        self._training.scripted = {
            group: role
            for group, match in self._matches.items()
            for role, name in match.players.items()
            if is_scripted(name)
        }
        return setups

    def agent(self, role: str, setups: Sequence[GameSetup]) -> Agent | None:
        """Return who plays a role in a step's games, each as its match says; ``None`` for current weights."""
        self._asked.add(role)
        own = self._policy.weights_of(role)
        who = {setup.path: self._matches[setup.group].players.get(role, own) for setup in setups}
        names = dict.fromkeys(who.values())
        if list(names) == [own]:
            return None
        return Dispatcher(
            agents={name: self._agent(role, name) for name in names},
            choose=lambda request: who[request.game],
        )

    def on_episodes(self, step: int, episodes: Sequence[Episode]) -> Sequence[Episode]:
        """Return a step's games with the turns of learners only as samples.

        What the sampler is told is what the games paid, whatever callbacks made of them.

        Raises:
            RedteamError: If a callback let somebody else play a trained role.
        """
        taken = sorted(set(self.weights) - self._asked)
        if taken and (self._name != SELF_PLAY or self._scripted.active):
            chooser = (
                f"--opponents {self._config.run.opponents}"
                if self._name != SELF_PLAY
                else "--scripted-share"
            )
            raise RedteamError(
                f"A callback chose who plays the {taken[0]}, but {chooser} does that; leave one of them "
                "out."
            )
        self._asked = set()
        self._results = self._scripted.own(
            [
                _result(episode, self._matches[episode.group].players)
                for episode in self._training.episodes
                if episode.rewritten and episode.void is None
            ]
        )
        result = []
        for episode in episodes:
            learners = self._matches[episode.group].learners
            samples = tuple(seat for seat in episode.samples if role_of(seat) in learners)
            same = samples == episode.samples
            result.append(episode if same else dataclasses.replace(episode, samples=samples))
        return result

    def on_update(self, step: int, row: Row) -> None:
        """Let the sampler take note of a step, and log what it says.

        ``league/games`` and ``league/tokens`` are the games that the sampler let :meth:`play` since
        the step before, and the tokens sampled in them.
        """
        started = time.monotonic()
        own = {**border.finish(self._sampler, self._name, step, self._results), **self._own_games}
        self._own_games = {}
        row |= self._scripted.row()
        if own:
            row |= {**own, "time/league_s": time.monotonic() - started}

    def on_checkpoint(self, directory: Path) -> None:
        """Write the league into a checkpoint that is being made; nothing if there is nothing to keep."""
        self._tidy()
        state, scripted = border.state_of(self._sampler, self._name), dict(self._scripted.state())
        if state or scripted:
            record = {
                "opponents": self._config.run.opponents,
                "state": state,
                "versions": self._versions.state(),
                **({"scripted": scripted} if scripted else {}),
            }
            write_league(directory, record)

    def _restore(self, checkpoint: Path) -> None:
        record = read_league(checkpoint)
        if record is None:
            if border.state_of(self._sampler, self._name) or self._scripted.active:
                raise RedteamError(
                    f"{str(checkpoint)!r} has no {LEAGUE}, so the league cannot go on; remove it to resume "
                    "from the checkpoint before."
                )
            return
        if record.get("replay"):
            raise RedteamError(
                f"{str(checkpoint)!r} holds the counts of seed replay in {LEAGUE}, as an older version "
                "wrote them; resume with that version."
            )
        self._versions.load_state(record["versions"], checkpoint)
        border.load_state(self._sampler, self._name, record["state"])
        self._scripted.load_state(record.get("scripted", {}))
        self._tidy()

    def _tidy(self) -> None:
        """Remove frozen versions that neither the run nor any checkpoint names."""
        folder = self._run.checkpoints_folder
        leagues = [
            read_league(x) for x in (folder.iterdir() if folder.is_dir() else ()) if x.is_dir()
        ]
        self._versions.tidy(name for league in leagues if league for name in league["versions"])


def check_league(config: TrainConfig, *, processes: int, own_loop: bool) -> None:
    """Refuse a league that cannot be, before anything is loaded.

    Args:
        config: The run.
        processes: How many processes train together.
        own_loop: Whether the algorithm trains in a loop of its own.

    Raises:
        RedteamError: If opponents, replay or a warm start are asked for where there can be none.
    """
    run = config.run
    asked = {
        "--opponents": run.opponents if sampler_of(run.opponents) != SELF_PLAY else None,
        "--scripted-share": config.scripted.scripted_share or None,
        "--seed-replay": config.replay.seed_replay if config.replay.seed_replay != "none" else None,
        "--init-from": run.init_from,
        "--anchor": run.anchor,
        "--eval-every": config.evaluation.eval_every or None,
        "--callback": run.callback,
    }
    given = [f"{option} {value}" for option, value in asked.items() if value is not None]
    if own_loop and given:
        raise RedteamError(
            f"{run.algorithm} trains in a loop of its own, without {', '.join(given)}; leave that out."
        )
    if processes > 1 and sampler_of(run.opponents) != SELF_PLAY:
        raise RedteamError(
            f"--opponents {run.opponents} trains in one process, not in {processes}: frozen versions "
            "lie in one place. Start one process, or give --opponents self_play."
        )
    named = {"init_from": run.init_from, "anchor": None if run.anchor == START else run.anchor}
    for option, place in named.items():
        if place is not None and not Path(place).expanduser().is_dir():
            raise RedteamError(
                f"{option} is {place!r}, which is no directory; name a run, a checkpoint or an adapter "
                "directory."
            )
    _check_anchor(config)


def _check_anchor(config: TrainConfig) -> None:
    if config.run.anchor is None:
        return
    if config.run.anchor == START and config.run.init_from is None:
        raise RedteamError(
            f"anchor is {START!r}, but there is no init_from: fresh adapters start as the base, which is "
            "the KL reference anyway. Leave the anchor out, or give --init-from."
        )
    if getattr(config.policy, "full", False):
        raise RedteamError(
            f"anchor is {config.run.anchor!r}, but {config.arrangement} trains whole models, whose KL "
            "reference is the model they start as: name that as --model, and leave the anchor out."
        )


def warm_start(policy: TrainablePolicy, run: RunConfig) -> None:
    """Let a policy take its weights and its KL reference from where a new run's options say.

    Raises:
        RedteamError: If it cannot, or they do not fit.
    """
    if run.init_from is not None:
        place = Path(run.init_from).expanduser()
        check_links(place)
        tell(_league_policy(policy, "--init-from"), "start_from", place)
    if run.anchor is not None:
        anchor = None if run.anchor == START else Path(run.anchor).expanduser()
        if anchor is not None:
            check_links(anchor)
        if not isinstance(policy, AnchoredPolicy):
            raise RedteamError(
                "--anchor needs a policy that can keep one (AnchoredPolicy in redteam_env.protocols); "
                f"{type(policy).__name__} cannot."
            )
        tell(policy, "anchor_at", anchor)


def _league_policy(policy: TrainablePolicy, what: str) -> LeaguePolicy:
    if not isinstance(policy, LeaguePolicy):
        raise RedteamError(
            f"{what} needs a policy that can save and read its weights (LeaguePolicy in "
            f"redteam_env.protocols); {type(policy).__name__} cannot."
        )
    return policy


def _result(episode: Episode, players: Mapping[str, str]) -> Result:
    payoffs = {role_of(seat): payoff(episode, seat) for seat in episode.components}
    return Result(players=dict(players), payoffs=payoffs)


def _split(version: str) -> tuple[str, int]:
    name, _, number = version.rpartition("@")
    return name, int(number)
