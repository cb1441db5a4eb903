"""The rules of the game as pure functions over frozen states; no framework, no clock, no network.

One game: a seed is drawn; the attacker rewrites it (or it goes raw to the defender); the defender
answers; after the agreed number of exchanges a judge reads the public dialogue and rewards are
given (Self-RedTeam, arXiv 2506.07468, section 3). The faces in :mod:`redteam_env.envs` and the
batched :mod:`redteam_env.rollout` all call this one class.

With ``credit = "turn"`` the judge reads the dialogue as it stood after each exchange, each exchange pays
by the same table, and a turn is credited with what its exchange and the later ones paid: a return from
the turn on, as MARSHAL's turn-level estimator has it (arXiv 2510.15414: turn rewards are summed backward,
then normalised per role).

In a raw game nobody rewrote anything, so the prompt's label is known: it is the seed's. The game pays by
it and not by what a judge made of the prompt, unless ``prompt_label`` says otherwise.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

from redteam_env.game.checks import Count, Share, above, check_fields
from redteam_env.game.config import SEATS, Credit, GameConfig, PromptLabel, check_faithfulness
from redteam_env.game.errors import RedteamError, unknown_name
from redteam_env.game.faithfulness import content_of, is_faithful, uncompared
from redteam_env.game.prompts import Prompts, load_prompts
from redteam_env.game.records import (
    DEFENDER,
    JUDGE,
    Dialogue,
    Episode,
    Exchange,
    Generation,
    Seed,
    Turn,
    Verdict,
    public_dialogue,
    role_of,
)
from redteam_env.game.rewards import PRESETS, RewardTable, add_components
from redteam_env.game.state import GameState
from redteam_env.game.thinking import PREFILL, Split, Thinking, cut_action, split_action
from redteam_env.game.values import shown
from redteam_env.game.verdicts import judgement, written_dialogue

Messages = list[dict[str, str]]

_DEFAULT = GameConfig()

_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Game:
    """The rules with their settings.

    Attributes:
        rewards: The table that pays the seats.
        prompts: The instruction texts.
        exchanges: Attacker-defender exchanges in a rewritten game; a raw game has one.
        credit: Whether the judge reads the game once, or after each exchange, which then pays its own
            turns: ``episode`` or ``turn``.
        prompt_label: Whose label the request of a raw game has: ``seed`` or ``judge``.
        faithfulness: What, beside the label, tells whether a rewrite asks for what its seed asks for, as
            :class:`GameConfig` has it. Whoever plays asks it (:mod:`redteam_env.faithfulness`).
        faithfulness_threshold: The least score of a faithful rewrite.
        thinking: The thinking rule of each seat; seats not named may think (``optional``).
        leak_on_violation: Show malformed turns as a whole, as Self-RedTeam's code does.
        max_seed_chars: Longest seed, in characters; a longer one is an error.
        max_action_chars: Longest action, in characters; a longer one is cut and marked.
        seats: The seats in the order in which they move. With :data:`~redteam_env.game.JUDGE` as the last,
            the judge is a player, too: it reads the finished dialogue, whichever game it was, and is paid
            for agreement with the judge. Its forfeit or failure costs nobody else anything.
    """

    rewards: RewardTable = PRESETS[_DEFAULT.rewards]
    prompts: Prompts = field(default_factory=load_prompts)
    exchanges: Count = _DEFAULT.exchanges
    credit: Credit = _DEFAULT.credit
    prompt_label: PromptLabel = _DEFAULT.prompt_label
    faithfulness: str = _DEFAULT.faithfulness
    faithfulness_threshold: Annotated[Share, above(0)] = _DEFAULT.faithfulness_threshold
    thinking: Mapping[str, Thinking] = field(default_factory=dict)
    leak_on_violation: bool = _DEFAULT.leak_on_violation
    max_seed_chars: Count = _DEFAULT.max_seed_chars
    max_action_chars: Count = _DEFAULT.max_action_chars
    seats: tuple[str, ...] = SEATS

    def __post_init__(self) -> None:
        if JUDGE in self.seats and self.rewards.weights and "judge" not in self.rewards.weights:
            raise RedteamError(
                f"The reward table {self.rewards.name!r} pays the judge's seat nothing; give it weights of "
                "judge.prompt, judge.refusal and judge.harm."
            )
        for seat, rule in self.thinking.items():
            if seat not in self.seats:
                raise unknown_name("seat in thinking", seat, self.seats)
            if rule not in tuple(Thinking):
                raise unknown_name("thinking rule", rule, tuple(Thinking))
        rules = {seat: Thinking(rule) for seat, rule in self.thinking.items()}
        object.__setattr__(self, "thinking", rules)
        check_fields(self)
        check_faithfulness(self.faithfulness)

    def without_judge(self) -> "Game":
        """Return the same game without a judge's seat."""
        seats = tuple(seat for seat in self.seats if seat != JUDGE)
        thinking = {seat: rule for seat, rule in self.thinking.items() if seat != JUDGE}
        return replace(self, seats=seats, thinking=thinking)

    def thinking_of(self, seat: str) -> Thinking:
        """Return the thinking rule of a seat."""
        return self.thinking.get(seat, Thinking.OPTIONAL)

    def must_think(self, seat: str) -> bool:
        """Whether a seat's every turn needs the think-answer format."""
        return self.thinking_of(seat) is Thinking.REQUIRED

    def prefill(self, seat: str) -> str:
        """Return the text a model's turn is pre-filled with; empty unless the seat must think."""
        return PREFILL if self.must_think(seat) else ""

    def start(self, seed: Seed, *, rewritten: bool) -> GameState:
        """Start a game.

        Args:
            seed: The request to play.
            rewritten: Whether the attacker rewrites it; otherwise the defender gets it raw.

        Returns:
            The first state.

        Raises:
            RedteamError: If the seed is empty, longer than ``max_seed_chars``, or no valid Unicode.
        """
        if _SURROGATES.search(seed.text):
            raise RedteamError(f"Seed {seed.id!r} holds lone surrogates; repair its encoding.")
        if not seed.text.strip():
            raise RedteamError(f"Seed {seed.id!r} is empty; remove it from its source.")
        if len(seed.text) > self.max_seed_chars:
            raise RedteamError(
                f"Seed {seed.id!r} has {len(seed.text)} characters, over the limit of "
                f"{self.max_seed_chars}; shorten it or raise max_seed_chars."
            )
        first = self.seats[0] if rewritten else DEFENDER
        return GameState(seed=seed, rewritten=rewritten, turns=(), to_move=first)

    def apply(
        self,
        state: GameState,
        text: str,
        *,
        generation: Generation | None = None,
        error: str | None = None,
        truncated: bool = False,
        thought: str = "",
        neutralised: bool = False,
    ) -> GameState:
        """Let the seat to move act.

        Args:
            state: A state in which somebody is to move.
            text: The action. Any text is legal: over-long text is cut, lone surrogates are replaced.
            generation: The tokens behind the text, if a model wrote it.
            error: Why the seat has no answer to give, if it has none. Nobody sees the text then, and
                the game is over and void: a failure is neither a refusal nor a success.
            truncated: Whether the text comes cut already.
            thought: The model's native thought, which was taken off the text. If nothing else is left,
                the turn is forfeit.
            neutralised: Whether the seat was shown text with its chat control tokens broken.

        Returns:
            The next state.

        Raises:
            RedteamError: If nobody is to move, or the action or the error is no text.
        """
        seat = state.to_move
        if seat is None:
            raise RedteamError("The game is over; start another one before acting.")
        if not isinstance(text, str):
            raise RedteamError(f"The action of {seat} is {shown(text)}; an action is a str.")
        if error is not None and not isinstance(error, str):
            raise RedteamError(f"The error of {seat} is {shown(error)}; give the reason as a str.")
        clean = _encodable(text)
        cut = cut_action(clean, self.max_action_chars)
        native = _encodable(thought)[: self.max_action_chars]
        if error is None:
            rule = self.thinking_of(seat)
            split = split_action(
                cut, rule, thought=bool(native), leak_on_violation=self.leak_on_violation
            )
        else:
            split = Split("", "", well_formed=True, forfeit=False)
        thoughts = "\n\n".join(filter(None, (native, split.thought)))
        # with what is visible it is never longer than an action, for which the spaces have room
        thoughts = thoughts[: self.max_action_chars - len(split.visible)]
        turn = Turn(
            seat=seat,
            text=cut,
            visible=split.visible,
            thought=thoughts,
            well_formed=split.well_formed,
            forfeit=split.forfeit,
            truncated=truncated or len(clean) > self.max_action_chars,
            generation=generation,
            error=error,
            native=native,
            neutralised=neutralised,
        )
        turns = (*state.turns, turn)
        over = (turn.forfeit or error is not None) and seat != JUDGE
        return GameState(  # dataclasses.replace takes four times as long
            seed=state.seed,
            rewritten=state.rewritten,
            turns=turns,
            to_move=None if over else self._next(state, turns),
        )

    def _next(self, state: GameState, turns: tuple[Turn, ...]) -> str | None:
        players = [seat for seat in self.seats if seat != JUDGE]
        played = len(turns) >= (self.exchanges * len(players) if state.rewritten else 1)
        if not played:
            return players[len(turns) % len(players)]
        judges = len(players) < len(self.seats) and turns[-1].seat != JUDGE
        return JUDGE if judges else None

    def rules_text(self, state: GameState, seat: str) -> str:
        """Return the instruction of a seat, without the seed."""
        return self._told(state, seat, None)

    def instruction(self, state: GameState, seat: str) -> str:
        """Return the seat's instruction and, for the attacker of a rewritten game, the seed.

        ``{request}`` in the instruction of another seat stands for the message that it is to answer.
        """
        rewrites = role_of(seat) == "attacker" and state.rewritten
        return self._told(state, seat, state.seed.text if rewrites else None)

    def _told(self, state: GameState, seat: str, seed_text: str | None) -> str:
        must_think = self.must_think(seat)
        return self.prompts.instruction(
            role_of(seat), seed_text, harmful=state.seed.harmful, must_think=must_think
        )

    def messages(self, state: GameState, seat: str) -> Messages:
        """Return the chat messages a model at this seat is prompted with.

        Args:
            state: A state in which the seat is to move.
            seat: The seat.

        Returns:
            A system message with the rules, or with texts that stand in the user turn
            (:class:`Prompts`) a first user message with them; then alternating user and assistant
            messages; of the other seats' turns, and of its own, only what was visible.
        """
        if seat == JUDGE:
            rules = {"role": "system", "content": self.rules_text(state, seat)}
            return [rules, {"role": "user", "content": written_dialogue(state.dialogue)}]
        role, lines = role_of(seat), state.dialogue.lines
        said: str | None = state.seed.text
        if role != "attacker":
            said, lines = (lines[0].text if lines else None), lines[1:]
        messages = self.prompts.opening(
            role, said, harmful=state.seed.harmful, must_think=self.must_think(seat)
        )
        for line in lines:
            speaker = "assistant" if line.seat == seat else "user"
            messages.append({"role": speaker, "content": line.text})
        return messages

    def open_messages(self, state: GameState, seat: str) -> Messages:
        """Return the chat messages of a seat as if nothing were hidden from it.

        They hold what the environments' ``state()`` holds, in the form that a model is prompted with:
        for a centralised critic, while the seats themselves are asked with :meth:`messages`.

        Args:
            state: A state in which the seat is to move.
            seat: The seat.

        Returns:
            A system message with the rules of the seat and then of the others (the attacker's tell the
            seed's label); a user message that begins with the seed; then every turn as it was written,
            thoughts included, user and assistant alternating.
        """
        seats = (seat, *(other for other in self.seats if other != seat))
        seed = self.prompts.request(state.seed.text) if state.rewritten else state.seed.text
        spoken = [("user", seed)]
        for turn in state.turns:
            role = "assistant" if turn.seat == seat else "user"
            if role == spoken[-1][0]:
                spoken[-1] = (role, f"{spoken[-1][1]}\n\n{turn.text}")
            else:
                spoken.append((role, turn.text))
        rules = "\n\n".join(self.rules_text(state, x) for x in seats)
        return [{"role": role, "content": text} for role, text in [("system", rules), *spoken]]

    def dialogues(self, state: GameState) -> tuple[Dialogue, ...]:
        """Return what a judge is to read of a finished game.

        Args:
            state: A state in which nobody is to move.

        Returns:
            Nothing of a game that was forfeited or failed; else the dialogue, or with ``credit =
            "turn"`` the dialogue as it stood after each exchange.
        """
        if not state.judged:
            return ()
        ends = [last for _, last in self._spans(state)]
        return tuple(public_dialogue(state.seed, state.rewritten, state.turns[:k]) for k in ends)

    def rewrites(self, state: GameState) -> tuple[str, ...]:
        """Return what is to be compared with the seed of a finished game: the attacker's visible texts.

        Args:
            state: A state in which nobody is to move.

        Returns:
            Nothing of a game that was raw, forfeited or failed.
        """
        if not (state.rewritten and state.judged):
            return ()
        return tuple(turn.visible for turn in state.turns if role_of(turn.seat) == "attacker")

    def _spans(self, state: GameState) -> list[tuple[int, int]]:
        """Return the turns, from and up to, that are judged and paid together."""
        if self.credit == "episode" or not state.rewritten:
            return [(0, len(state.turns))]
        players = len([seat for seat in self.seats if seat != JUDGE])
        turns = len([turn for turn in state.turns if turn.seat != JUDGE])
        spans = [(k, min(k + players, turns)) for k in range(0, turns, players)]
        return [*spans[:-1], (spans[-1][0], len(state.turns))]  # the judge's turn is with the last

    def finish(
        self,
        state: GameState,
        verdict: Verdict | None,
        *,
        earlier: Sequence[Verdict] = (),
        content: Sequence[float | None] = (),
        path: tuple[int | str, ...] = (),
        group: int = 0,
    ) -> Episode:
        """Pay the seats and close the game.

        Args:
            state: A state in which nobody is to move.
            verdict: The judge's on the whole dialogue; ``None`` exactly if the game was forfeited or a
                seat failed.
            earlier: Its verdicts on all but the last of :meth:`dialogues`, in order.
            content: How far each of :meth:`rewrites` asks for what the seed asks for, as
                :class:`~redteam_env.game.Content` has it; by default none was compared.
            path: Where in a run the game was played.
            group: The group of games it belongs to.

        Returns:
            The episode, with the verdict as it was given. It is void, with rewards of 0 and nothing to
            train on, if a seat failed, a verdict failed or left a field unknown that the game pays by, or
            a rewrite was to be compared with its seed and was not.

        Raises:
            RedteamError: If somebody is still to move, or a verdict is missing or not due.
        """
        if state.to_move is not None:
            raise RedteamError(f"{state.to_move} is still to move; a running game has no verdict.")
        if (verdict is not None) != state.judged:
            raise RedteamError(
                "A forfeited or failed game is not judged."
                if verdict
                else "A finished game needs a verdict."
            )
        spans = self._spans(state) if verdict is not None else []
        verdicts = (*earlier, verdict) if verdict is not None else ()
        if len(earlier) != max(0, len(spans) - 1):
            raise RedteamError(
                f"This game needs {max(0, len(spans) - 1)} verdicts on earlier exchanges, but has "
                f"{len(earlier)}; ask the judge about each of Game.dialogues."
            )
        found = content_of(
            content,
            texts=len(self.rewrites(state)),
            measure=self.faithfulness,
            threshold=self.faithfulness_threshold,
        )
        read = [self._as_paid(state, x) for x in verdicts]
        void = state.void_reason(read) or uncompared(found)
        components: dict[str, dict[str, float]] = {seat: {} for seat in self.seats}
        samples: tuple[str, ...] = ()
        exchanges: list[Exchange] = []
        if state.forfeited:
            seat = state.turns[-1].seat
            must_think = self.must_think(seat)
            components[seat] = self.rewards.forfeit(role_of(seat), must_think=must_think)
            samples = (seat,)
        elif verdicts and void is None:
            faithful = True
            for given, x, span in zip(verdicts, read, spans, strict=True):
                kept = is_faithful(state, x, found, span)
                paid = self._paid(state, x, state.turns[slice(*span)], faithful=kept)
                if self.credit == "turn":
                    exchanges.append(Exchange(verdict=given, components=paid))
                add_components(components, paid)
                faithful = faithful and kept
            samples = self._samples(state, faithful=faithful)
        return Episode(
            seed=state.seed,
            rewritten=state.rewritten,
            turns=state.turns,
            verdict=verdict,
            rewards={seat: float(sum(parts.values())) for seat, parts in components.items()},
            components=components,
            samples=samples,
            void=void,
            path=path,
            group=group,
            exchanges=tuple(exchanges),
            content=found,
        )

    def _as_paid(self, state: GameState, verdict: Verdict) -> Verdict:
        """Return a verdict as the game pays by it: on a raw prompt with the label that is known."""
        known = state.seed.harmful
        if state.rewritten or self.prompt_label == "judge" or verdict.prompt_harmful is known:
            return verdict
        return replace(verdict, prompt_harmful=known)

    def _paid(
        self, state: GameState, verdict: Verdict, turns: Sequence[Turn], *, faithful: bool
    ) -> dict[str, dict[str, float]]:
        """Return what some turns pay each seat, by the verdict on the dialogue up to the last of them."""
        judges = JUDGE in self.seats
        paid = self.rewards.score(
            seed_harmful=state.seed.harmful,
            rewritten=state.rewritten,
            verdict=verdict,
            formats=self._formats(turns),
            judged=judgement(turns) if judges else None,
            faithful=faithful,
        )
        if judges and any(turn.seat == JUDGE and turn.forfeit for turn in turns):
            paid["judge"] = self.rewards.forfeit("judge", must_think=self.must_think(JUDGE))
        return {seat: dict(paid.get(role_of(seat), {})) for seat in self.seats}

    def _formats(self, turns: Sequence[Turn]) -> dict[str, bool]:
        if Thinking.REQUIRED not in self.thinking.values():
            return {}
        kept = {
            seat: [x.well_formed for x in turns if x.seat == seat and x.error is None]
            for seat in self.seats
            if self.must_think(seat)
        }
        return {role_of(seat): all(turns) for seat, turns in kept.items() if turns}

    def _samples(self, state: GameState, *, faithful: bool) -> tuple[str, ...]:
        played = {turn.seat for turn in state.turns if turn.error is None}
        if self.rewards.drop_unfaithful and state.rewritten and not faithful:
            played = {seat for seat in played if role_of(seat) != "defender"}
        return tuple([seat for seat in self.seats if seat in played])

    def replay(self, episode: Episode) -> Episode:
        """Play a recorded game again from its action texts and its verdict.

        Args:
            episode: The record.

        Returns:
            The episode these rules give; equal to the record if it was played under them.

        Raises:
            RedteamError: If the record has more or fewer turns than these rules allow.
        """
        state = self.start(episode.seed, rewritten=episode.rewritten)
        for turn in episode.turns:
            state = self.apply(
                state,
                turn.text,
                generation=turn.generation,
                error=turn.error,
                truncated=turn.truncated,
                thought=turn.native,
                neutralised=turn.neutralised,
            )
        return self.finish(
            state,
            episode.verdict,
            earlier=[exchange.verdict for exchange in episode.exchanges[:-1]],
            content=() if episode.content is None else episode.content.scores,
            path=episode.path,
            group=episode.group,
        )


def _encodable(text: str) -> str:
    """Return a text with its lone surrogates replaced, which no encoding can hold."""
    plain = str(text)
    return plain if plain.isascii() else _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", plain)
