"""The keyword arguments that every face of the game takes, checked in one place."""

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from redteam_env.game import (
    ATTACKER,
    DEFENDER,
    Game,
    RedteamError,
    RewardTable,
    Thinking,
    load_prompts,
    reward_table,
    unknown_name,
)
from redteam_env.game.rewards import RewardFunction
from redteam_env.protocols import Agent, Judge, SeedSource
from redteam_env.worlds import prompts_path

RENDER_MODES = ("ansi", "human")
SPLITS = ("train", "heldout")
SEATS = (ATTACKER, DEFENDER)

P = ParamSpec("P")
C = TypeVar("C")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class EnvConfig:
    """The settings of an environment.

    Attributes:
        seeds: Where the requests come from: the name of a seed source, such as ``builtin``,
            ``strongreject`` or ``advbench``, or a :class:`~redteam_env.protocols.SeedSource`.
        judge: Who reads the dialogues: the name of a judge, such as ``lexical`` (smoke tests only)
            or ``wildguard``, or a :class:`~redteam_env.protocols.Judge`.
        judge_url: Address of the server behind a judge that needs one.
        rewards: ``self_redteam``, ``self_redteam_all_one``, ``zero_sum``, ``safety_only``,
            ``magic``, a :class:`~redteam_env.game.RewardTable`, or a callable from the signed
            components of all roles to the reward of each role.
        exchanges: Attacker-defender exchanges in a rewritten game, at least 1.
        rewrite_fraction: Share of games in which the attacker plays, in [0, 1].
        benign_fraction: Share of benign seeds, in [0, 1].
        thinking: ``none``, ``optional`` or ``required``, for all seats or by seat; seats that a
            mapping leaves out may think (``optional``).
        leak_on_violation: Show a malformed turn as a whole, thoughts included, as Self-RedTeam's
            code does; otherwise its answer part is shown or the turn is forfeit.
        prompts: A directory of instruction texts that replaces ours, the name of an embedded model
            (``apothecary``) for those it was pretrained on, or ``None``.
        max_seed_chars: Longest seed, in characters; a longer one is an error.
        max_action_chars: Longest action, in characters; a longer one is cut.
        faithfulness_gate: What an unfaithful rewrite pays the attacker, instead of everything
            else; ``None`` leaves it to the reward table (no gate in the presets).
        drop_unfaithful: Whether games with an unfaithful rewrite are left out of the defender's
            samples; ``None`` leaves it to the reward table (false in the presets).
        benign_refusal_weight: Factor on the defender's penalty for refusing a benign request, at
            least 0; ``None`` leaves it to the reward table (1 in the presets).
        split: The seeds to play: ``train`` or ``heldout``.
        render_mode: ``ansi`` (``render`` returns text), ``human`` (each part of the game is printed
            as it happens) or ``None``.
    """

    seeds: str | SeedSource = "builtin"
    judge: str | Judge = "lexical"
    judge_url: str | None = None
    rewards: str | RewardTable | RewardFunction = "self_redteam"
    exchanges: int = 1
    rewrite_fraction: float = 0.5
    benign_fraction: float = 0.5
    thinking: str | Mapping[str, str] = "optional"
    leak_on_violation: bool = False
    prompts: str | Path | None = None
    max_seed_chars: int = 1000
    max_action_chars: int = 8000
    faithfulness_gate: float | None = None
    drop_unfaithful: bool | None = None
    benign_refusal_weight: float | None = None
    split: str = "train"
    render_mode: str | None = None

    def __post_init__(self) -> None:
        _check_type("judge_url", self.judge_url, (str, type(None)), "an address or None")
        _check_type("prompts", self.prompts, (str, Path, type(None)), "a directory or None")
        _check_type("leak_on_violation", self.leak_on_violation, (bool,), "True or False")
        kinds = (bool, type(None))
        _check_type("drop_unfaithful", self.drop_unfaithful, kinds, "True, False or None")
        for name in ("rewrite_fraction", "benign_fraction"):
            _check_number(name, getattr(self, name), lowest=0.0, highest=1.0)
        for name, lowest in (("faithfulness_gate", -math.inf), ("benign_refusal_weight", 0.0)):
            if getattr(self, name) is not None:
                _check_number(name, getattr(self, name), lowest=lowest, highest=math.inf)
        if self.split not in SPLITS:
            raise unknown_name("split", self.split, SPLITS)
        if self.render_mode is not None and self.render_mode not in RENDER_MODES:
            raise unknown_name("render_mode", self.render_mode, RENDER_MODES, hint="None is quiet.")

    def game(self) -> Game:
        """Return the rules with these settings.

        Raises:
            RedteamError: If an argument is of the wrong type, unknown or out of range.
        """
        return Game(
            rewards=reward_table(
                self.rewards,
                faithfulness_gate=self.faithfulness_gate,
                drop_unfaithful=self.drop_unfaithful,
                benign_refusal_weight=self.benign_refusal_weight,
            ),
            prompts=load_prompts(None if self.prompts is None else prompts_path(str(self.prompts))),
            exchanges=self.exchanges,
            thinking=_thinking(self.thinking),
            leak_on_violation=self.leak_on_violation,
            max_seed_chars=self.max_seed_chars,
            max_action_chars=self.max_action_chars,
            seats=SEATS,
        )


@dataclass(frozen=True)
class SeatConfig(EnvConfig):
    """The settings of a single-seat view: those of the game, and who plays the other seat.

    Attributes:
        seat: The seat to play, such as ``attacker_0``.
        opponent: Who plays the other seat: the name of an agent or an
            :class:`~redteam_env.protocols.Agent`. By default ``template`` attacks and ``comply``
            defends.
    """

    seat: str
    opponent: str | Agent | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seat not in SEATS:
            raise unknown_name("seat", self.seat, SEATS)


def takes(options: Callable[P, C]) -> Callable[[Callable[[C], T]], Callable[P, T]]:
    """Let a function of one settings object take the settings themselves.

    So the names, types and defaults of the arguments are stated once, in the settings class.

    Args:
        options: The settings class.

    Returns:
        A decorator. The decorated function refuses unknown arguments with a :class:`RedteamError`
        and shows the settings in its signature and docstring.
    """

    def decorate(make: Callable[[C], T]) -> Callable[P, T]:
        signature = inspect.signature(options)

        @functools.wraps(make)
        def build(*args: P.args, **kwargs: P.kwargs) -> T:
            for name in kwargs:
                if name not in signature.parameters:
                    raise unknown_name("argument", name, signature.parameters)
            return make(options(*args, **kwargs))

        build.__doc__ = f"{inspect.getdoc(make)}\n\n{_arguments(options)}"
        returns = inspect.signature(make).return_annotation
        vars(build)["__signature__"] = signature.replace(return_annotation=returns)
        return build

    return decorate


def _arguments(options: Any) -> str:
    """Return the ``Args:`` section that documents a settings class, its base's included."""
    docs = [inspect.getdoc(kind) or "" for kind in options.__mro__ if kind is not object]
    return "Args:\n" + "\n".join(doc.partition("Attributes:\n")[2] for doc in docs)


def _check_type(name: str, value: object, kinds: tuple[type, ...], allowed: str) -> None:
    if not isinstance(value, kinds):
        raise RedteamError(f"{name} is {value!r}; give {allowed}.")


def _check_number(name: str, value: object, *, lowest: float, highest: float) -> None:
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and lowest <= value <= highest
    ):
        return
    wanted = "a finite number"
    if lowest > -math.inf:
        wanted += f" of at least {lowest:g}"
    if highest < math.inf:
        wanted += f" and at most {highest:g}"
    raise RedteamError(f"{name} is {value!r}; give {wanted}.")


def _thinking(rule: object) -> dict[str, Thinking]:
    if isinstance(rule, str):
        return dict.fromkeys(SEATS, _thinking_name(rule))
    if not isinstance(rule, Mapping):
        raise RedteamError(
            f"thinking is {rule!r}; give {', '.join(Thinking)}, or a mapping from seat to one."
        )
    return {seat: _thinking_name(name) for seat, name in rule.items()}


def _thinking_name(name: object) -> Thinking:
    if name not in tuple(Thinking):
        raise unknown_name("thinking rule", name, Thinking)
    return Thinking(str(name))
