"""The keyword arguments that every face of the game takes, checked in one place."""

import functools
import inspect
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, get_args

from redteam_env.border.functions import Answer, Reading
from redteam_env.game import GameConfig, RewardTable, at_least, unknown_name
from redteam_env.game.rewards import RewardFunction
from redteam_env.protocols import Agent, Judge, SeedSource
from redteam_env.seeds.plain import PlainSeeds, only_share
from redteam_env.utils.docs import attribute_docs
from redteam_env.worlds import world_options

RenderMode = Literal["ansi", "human"]
RENDER_MODES = get_args(RenderMode)

_GAME = GameConfig()

P = ParamSpec("P")
C = TypeVar("C")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class EnvConfig(GameConfig):
    """The settings of an environment: those of the game, with objects in place of names, and its own.

    Attributes:
        seeds: Where the requests come from: the name of a seed source, such as ``builtin``,
            ``strongreject`` or ``advbench``; or a :class:`~redteam_env.protocols.SeedSource`; or a list
            of :class:`~redteam_env.game.Seed` and of texts, which are harmful requests; or texts by
            label, as in ``{"harmful": [...], "benign": [...]}``. ``benign_fraction`` follows from
            lists of one label alone.
        judge: Who reads the dialogues: the name of a judge, such as ``seed_labels`` or ``lexical``
            (smoke tests only) or ``wildguard``; or a :class:`~redteam_env.protocols.Judge`; or a
            function from a :class:`~redteam_env.game.Dialogue` to a :class:`~redteam_env.game.Verdict`.
        rewards: ``self_redteam``, ``self_redteam_all_one``, ``zero_sum``, ``safety_only``,
            ``magic``, a :class:`~redteam_env.game.RewardTable`, or a callable from the signed
            components of all roles to the reward of each role.
        drop_unfaithful: Whether games with an unfaithful rewrite are left out of the defender's
            samples; ``None`` leaves it to the reward table (false in the presets).
        benign_refusal_weight: Factor on the defender's penalty for refusing a benign request, at
            least 0; ``None`` leaves it to the reward table (1 in the presets).
        thinking: ``none``, ``optional`` or ``required``, for all seats or by seat (a mapping, or a
            text such as ``attacker_0=required``); seats that are left out may think
            (``optional``).
        prompts: Instruction texts: ``default``, ``example`` (shorter, one example each), a directory of
            such texts, the name of an embedded model (``apothecary``) for those it was pretrained on, or
            ``None`` for ``default``.
        split: The seeds to play: ``train`` or ``heldout``.
        mix_worlds: Whether parts that do not fit each other, such as a world's judge on English
            seeds, are played all the same.
        render_mode: ``ansi`` (``render`` returns text), ``human`` (each part of the game is printed
            as it happens) or ``None``.
    """

    # wider types than a run's, whose settings are text on the command line and on disk
    seeds: str | SeedSource | PlainSeeds = _GAME.seeds  # type: ignore[assignment]
    judge: str | Judge | Reading = _GAME.judge  # type: ignore[assignment]
    rewards: str | RewardTable | RewardFunction = _GAME.rewards  # type: ignore[assignment]
    drop_unfaithful: bool | None = None  # type: ignore[assignment]
    benign_refusal_weight: Annotated[float | None, at_least(0)] = None  # type: ignore[assignment]
    thinking: str | Mapping[str, str] = _GAME.thinking  # type: ignore[assignment]
    prompts: str | Path | None = _GAME.prompts  # type: ignore[assignment]
    split: Literal["train", "heldout"] = "train"
    mix_worlds: bool = False
    render_mode: RenderMode | None = None


@dataclass(frozen=True)
class SeatConfig(EnvConfig):
    """The settings of a single-seat view: those of the game, and who plays the other seat.

    Attributes:
        seat: The seat to play, such as ``attacker_0``.
        opponent: Who plays the other seat: what ``redteam-env play --attacker`` takes (the name of an
            agent, ``base``, a run, adapter or model directory), or an
            :class:`~redteam_env.protocols.Agent`, or a function from the chat messages of a turn to a
            text. Settings that are not given are those of the run that it names. By default, with seeds
            and judge of the controlled world, what its base model was shown in that role; else
            ``template`` attacks and ``comply`` defends. A judge's seat is played by the judge.
        model: The model that an opponent ``base`` means; by default the world's, else ``smollm2``.
    """

    seat: str
    opponent: str | Agent | Answer | None = None
    model: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seat not in self.seats:
            raise unknown_name("seat", self.seat, self.seats)


def takes(
    options: Callable[P, C],
    *,
    inherited: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda _: {},
) -> Callable[[Callable[[C], T]], Callable[P, T]]:
    """Let a function of one settings object take the settings themselves.

    So the names, types and defaults of the arguments are stated once, in the settings class.

    Args:
        options: The settings class.
        inherited: Returns settings in place of defaults, from those that are given; a world's go before
            them.

    Returns:
        A decorator. The decorated function refuses unknown arguments with a :class:`RedteamError`
        and shows the settings in its signature and docstring.
    """

    def decorate(make: Callable[[C], T]) -> Callable[P, T]:
        signature = inspect.signature(options)

        @functools.wraps(make)
        def build(*args: P.args, **kwargs: P.kwargs) -> T:
            given = signature.bind_partial(*args).arguments | kwargs
            defaults = dict(inherited(given))
            if (world := given.get("world")) is not None:
                brought = world_options(str(world), judge=given.get("judge"))
                defaults |= {x: brought[x] for x in brought if x in signature.parameters}
            if "benign_fraction" not in given and (
                (share := only_share(given.get("seeds"))) is not None
            ):
                defaults["benign_fraction"] = share
            taken = {x: y for x, y in defaults.items() if x not in given}
            kwargs = {**taken, **kwargs}  # type: ignore[assignment]
            for name in kwargs:
                if name not in signature.parameters:
                    raise unknown_name("argument", name, signature.parameters)
            return make(options(*args, **kwargs))

        build.__doc__ = f"{inspect.getdoc(make)}\n\n{_arguments(options, signature.parameters)}"
        returns = inspect.signature(make).return_annotation
        vars(build)["__signature__"] = signature.replace(return_annotation=returns)
        return build

    return decorate


def _arguments(options: Any, names: Iterable[str]) -> str:
    """Return the ``Args:`` section that documents a settings class, its bases' included."""
    docs = attribute_docs(options)
    entries = (
        textwrap.fill(
            f"{name}: {docs[name]}", 96, initial_indent=" " * 4, subsequent_indent=" " * 8
        )
        for name in names
    )
    return "\n".join(("Args:", *entries))
