"""What is asked of every trained arm: scripted suites, the quiz, the other arms."""

from collections.abc import Iterator, Mapping, Sequence

from algorithms.studies.experiments.config import SPLITS, Measuring, world_named
from algorithms.studies.games import (
    CROSS,
    QUIZ,
    RESPONSE,
    SUITE,
    Rows,
    Who,
    game_rows,
    quiz_row,
)
from algorithms.studies.players import Player, refusal_scores
from redteam_env.evaluation import MemoAgent
from redteam_env.game import ATTACKER, DEFENDER, Episode, Game, RedteamError
from redteam_env.protocols import Agent, GameSetup
from redteam_env.rollout import play, schedule
from redteam_env.worlds.apothecary import ApothecaryJudge, make_world
from redteam_env.worlds.apothecary.quiz import is_right
from redteam_env.worlds.apothecary.source import world_seeds
from redteam_env.worlds.apothecary.suites import Suite, ask_quiz, make_suite


class Meter:
    """Measures arms in the world of one base model.

    Args:
        model: The base model: an embedded one or a directory that ``worlds pretrain`` wrote.
        game: The rules that were trained under.
        measuring: What is measured.

    Raises:
        RedteamError: If the model belongs to another world than the registered seeds and judge.
    """

    def __init__(self, model: str, game: Game, measuring: Measuring) -> None:
        self.world = world_named(model)
        if self.world.substances != make_world().substances:
            raise RedteamError(
                f"{model!r} was pretrained on another world than the seeds and the judge "
                "'apothecary' serve; give a model of the default world."
            )
        self.measuring = measuring
        self._game = game
        self._judge = ApothecaryJudge(self.world.config)
        self._suites = [
            make_suite(self.world, kind, split, measuring.suite_games, seed=measuring.seed)
            for split in SPLITS
            for kind in measuring.suites
        ]

    def defender(self, player: Player, steps: Sequence[int]) -> Iterator[Rows]:
        """Yield the rows of a defender's suites and quiz at each checkpoint."""
        for step in steps:
            player.restore(step)
            yield self._asked(player)

    def crossed(
        self,
        attackers: Sequence[Player],
        defenders: Sequence[Player],
        others: Mapping[str, Player],
        place: tuple[int, int],
    ) -> Rows:
        """Return the rows of every attacker against every defender, at the players' checkpoints.

        Args:
            attackers: Players whose attackers play, the base among them.
            defenders: The same for the other seat.
            others: For an arm, its player of another training seed: the attacker also meets this
                one's defender, which it was not trained with.
            place: The training seed and the step of the checkpoints; they address the seeds.
        """
        setups = self._cross_setups(place)
        rows: Rows = []
        for attacker in attackers:
            rewriter = MemoAgent(attacker.agent("attacker"))
            opponents = [*defenders, *([others[attacker.arm]] if attacker.arm in others else [])]
            for defender in opponents:
                who = _pair(CROSS, attacker, defender, place[1])
                rows += self._scored(who, setups, rewriter, defender.agent("defender"))
        return rows

    def response(self, attacker: Player, defender: Player) -> Rows:
        """Return the rows of a fresh attacker against the frozen defender it was trained against."""
        setups = self._cross_setups((attacker.seed, "response"))
        who = _pair(RESPONSE, attacker, defender, attacker.step)
        return self._scored(who, setups, attacker.agent("attacker"), defender.agent("defender"))

    def _cross_setups(self, path: tuple[int | str, ...]) -> list[GameSetup]:
        source = world_seeds(self.world)
        return [
            setup
            for split in SPLITS
            for setup in schedule(
                source,
                self.measuring.cross_games // 2,
                path=(self.measuring.seed, "cross", *path, split),
                rewrite_fraction=1.0,
                split=split,
            )
        ]

    def _asked(self, player: Player) -> Rows:
        agent = player.agent("defender")
        rows: Rows = []
        for suite in self._suites:
            who = _asked_who(SUITE, player, suite)
            rows += self._scored(who, suite.setups, suite.attacker(), agent)
        who = _asked_who(QUIZ, player, None)
        path = (self.measuring.seed, "quiz")
        rows += [
            quiz_row(who, x.kind, x.text, reply, right=is_right(x, reply))
            for x, reply in ask_quiz(self.world, agent, self.measuring.quiz_games, path)
        ]
        return rows

    def _scored(
        self, who: Who, setups: Sequence[GameSetup], attacker: Agent, defender: Agent
    ) -> Rows:
        episodes = self._play(setups, {ATTACKER: attacker, DEFENDER: defender})
        return game_rows(who, episodes, refusal_scores(defender, self._game, episodes))

    def _play(self, setups: Sequence[GameSetup], agents: Mapping[str, Agent]) -> list[Episode]:
        return play(setups, agents, self._judge, game=self._game)


def _pair(kind: str, attacker: Player, defender: Player, step: int) -> Who:
    return Who(
        kind=kind,
        attacker=attacker.arm,
        defender=defender.arm,
        attacker_seed=attacker.seed,
        defender_seed=defender.seed,
        step=step,
    )


def _asked_who(kind: str, player: Player, suite: Suite | None) -> Who:
    return Who(
        kind=kind,
        attacker="scripted",
        defender=player.arm,
        attacker_seed=-1,
        defender_seed=player.seed,
        step=player.step,
        suite="" if suite is None else suite.kind,
    )
