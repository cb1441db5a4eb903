"""A standing attack at the attacker's seat: it searches in private and plays the best that it found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from redteam_env.attacks.search import best
from redteam_env.border.attacks import attempts as make_attempts
from redteam_env.faithfulness import toward_seed
from redteam_env.game import ATTACKER, DEFENDER, Episode, Game, RedteamError
from redteam_env.game.thinking import compose
from redteam_env.protocols import Agent, Attack, GameSetup, Judge, Queries, Reply, TurnRequest
from redteam_env.randomness import Address
from redteam_env.rollout import ask

THOUGHT = "I play what my search found."


@dataclass(slots=True)
class Cost:
    """What a standing attack cost so far, whoever it was played against.

    Attributes:
        queries: Its queries.
        tokens: Tokens that models of this process sampled in its attempts.
    """

    queries: Queries = field(default_factory=Queries)
    tokens: int = 0

    def add(self, queries: Queries, tokens: int) -> None:
        """Add to it."""
        self.queries = self.queries.plus(queries)
        self.tokens += tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackAgent:
    """Attacks a defender in private when a game begins, and plays the messages of its best attempt.

    The attempts are games of their own, which are in no rate. If the best of them has fewer exchanges than
    the game, its last message is repeated.

    Attributes:
        attack: The attack.
        judge: Reads its attempts.
        game: The rules of the games that it plays in.
        attempts: Most attempts at each seed.
        target: Whom it attacks in private; ``None`` for the defender that it plays against.
        batch_size: Most questions put to an agent at once; by default all.
        cost: What it cost.
    """

    attack: Attack
    judge: Judge
    game: Game
    attempts: int
    target: Agent | None = None
    batch_size: int | None = None
    cost: Cost = field(default_factory=Cost)
    _plans: dict[Address, tuple[str, ...]] = field(default_factory=dict)

    def facing(self, agents: Mapping[str, Agent]) -> Agent:
        """Return who attacks the defender of the games to come."""
        if self.target is not None or DEFENDER not in agents:
            return self
        return replace(self, target=agents[DEFENDER], _plans={})

    def act(self, requests: Sequence[TurnRequest]) -> list[Reply]:
        """Answer every request, in order.

        Raises:
            RedteamError: If there is nobody to attack, or an agent or the judge breaks its protocol.
        """
        new = [request for request in requests if request.game not in self._plans]
        if new:
            self._plan(new)
        return [self._reply(request) for request in requests]

    def _plan(self, requests: Sequence[TurnRequest]) -> None:
        if self.target is None:
            raise RedteamError(
                f"The attack {self.attack.name!r} does not know whom to attack here; name its target, such "
                f"as attack:{self.attack.name}?target=base."
            )
        setups = []
        for k, request in enumerate(requests):
            if request.seed is None:
                raise RedteamError(
                    "A standing attack plays the attacker's seat, which is given a seed."
                )
            path = (*request.game, "private")
            setups.append(GameSetup(seed=request.seed, rewritten=True, path=path, group=k))
        found = make_attempts(
            self.attack,
            setups,
            _Present(agent=self.target, games=frozenset(x.game for x in requests)),
            self.judge,
            game=toward_seed(self.game, self.judge),
            attempts=self.attempts,
            batch_size=self.batch_size,
        )
        self.cost.add(found.queries, sum(_sampled(x) for own in found.episodes for x in own))
        for setup, episodes in zip(setups, found.episodes, strict=True):
            self._plans[setup.path[:-1]] = _said(best(episodes))

    def _reply(self, request: TurnRequest) -> Reply:
        turn = sum(message["role"] == "assistant" for message in request.messages)
        plan = self._plans[request.game]
        if turn + 1 >= self.game.exchanges:
            del self._plans[request.game]
        text = plan[min(turn, len(plan) - 1)]
        return Reply(text=compose(THOUGHT, text) if request.prefill else text)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Present:
    """A defender that takes each private attempt for a turn of the game that it is made for.

    Whoever chooses a defender for each game, as a mixture does, then has the attempts answered by the same
    one as the game.
    """

    agent: Agent
    games: frozenset[Address]

    def act(self, requests: Sequence[TurnRequest]) -> Sequence[Reply]:
        return ask(self.agent, [replace(x, game=self._game(x.game)) for x in requests])

    def _game(self, attempt: Address) -> Address:
        starts = (attempt[:k] for k in range(len(attempt), 0, -1))
        return next((start for start in starts if start in self.games), attempt)


def _sampled(episode: Episode) -> int:
    return sum(len(x.generation.completion_ids) for x in episode.turns if x.generation is not None)


def _said(episode: Episode) -> tuple[str, ...]:
    return tuple(turn.visible for turn in episode.turns if turn.seat == ATTACKER)
