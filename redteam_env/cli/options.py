"""The options that ``play``, ``evaluate`` and ``crossplay`` share, and what they resolve to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, make_dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from redteam_env.border.judges import notice
from redteam_env.evaluation import AgentPool, check_spec
from redteam_env.evaluation.agents import policy_defaults
from redteam_env.evaluation.calibration import Calibration, calibration_of
from redteam_env.evaluation.inherited import settings_for
from redteam_env.faithfulness import measure_of
from redteam_env.game import Count, Game, GameConfig, at_least, check_fields
from redteam_env.judges.combined import DisagreementJudge
from redteam_env.judges.identity import identity_of
from redteam_env.judges.judge import check_ready
from redteam_env.judges.resolve import resolve_judge
from redteam_env.protocols import Judge, SeedSource
from redteam_env.seeds import resolve_seeds
from redteam_env.usage import read
from redteam_env.utils.console import Shown, make_console
from redteam_env.utils.docs import attribute_docs
from redteam_env.utils.text import safe_text
from redteam_env.worlds import build_game, check_fit

_GAME = GameConfig()
_GAME_DOCS = attribute_docs(GameConfig)
_ELSEWHERE = frozenset({"judge_seat", "rewrite_fraction", "benign_fraction"})
"""Settings of the game that each command has in its own way: who plays the judge's seat, and which games."""
_OF_GAME = tuple(x.name for x in fields(GameConfig) if x.name not in _ELSEWHERE)
"""The options that are settings of the game."""
_METAVARS = {"judge_url": "URL", "prompts": "NAME|DIR", "faithfulness_threshold": "SHARE"}
_DEFAULTS = {
    "world": "none",
    "judge_url": "none",
    "prompts": "default",
    "faithfulness_gate": "none",
}
"""What is shown for a default of nothing."""

OFTEN = ("world", "seeds", "judge", "model", "json")
"""The options here that ``--help`` shows."""
_PLUGINS: Mapping[str, str] = MappingProxyType(
    {"world": "worlds", "seeds": "seeds", "judge": "judges"}
)

T = TypeVar("T")


def shown_as(metavar: str, default: str = "") -> Any:
    """Return how an option without a fixed default is shown in ``--help``."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=default and f"(default: {default})")


def of_game(name: str) -> Any:
    """Return how an option that is a setting of the game is explained in ``--help``."""
    return tyro.conf.arg(help=_GAME_DOCS[name])


def _run_or(name: str, default: object, metavar: str = "NAME") -> Any:
    """Return how an option is shown that is the first run's by default."""
    return tyro.conf.arg(
        help=_GAME_DOCS.get(name) or None,
        metavar=metavar,
        help_behavior_hint=f"(default: the first run's, else {default})",
    )


def _switch() -> Any:
    """Return how an option is read that turns something on, and leaves it as the run has it by default."""
    return PrimitiveConstructorSpec(
        nargs=0,
        metavar="",
        instance_from_str=lambda _: True,
        is_instance=lambda x: isinstance(x, bool),
        str_from_instance=lambda _: [],
    )


def _option_of(name: str, hint: Any) -> tuple[str, Any, Any]:
    """Return a setting of the game as a field that is the first run's unless it is given."""
    kind = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    default = _DEFAULTS.get(name, getattr(_GAME, name))
    if kind is bool:
        shown = _run_or(name, "on" if default else "off", "")
        return name, Annotated[bool | None, _switch(), shown], None
    if get_origin(kind) is Literal:
        metavar = f"{{{','.join(get_args(kind))}}}"
    else:
        words = {int: "INT", float: "FLOAT", float | None: "FLOAT"}
        metavar = _METAVARS.get(name) or words.get(kind, "NAME")
    return name, Annotated[hint | None, _run_or(name, default, metavar)], None


_HINTS = get_type_hints(GameConfig, include_extras=True)
_RunOr: Any = make_dataclass(
    "_RunOr", [_option_of(x, _HINTS[x]) for x in _OF_GAME], frozen=True, kw_only=True
)
"""The settings of :class:`~redteam_env.game.GameConfig`, each of which may be left to the first run."""


@dataclass(frozen=True, kw_only=True)
class GameOptions(_RunOr):  # type: ignore[misc]  # its fields are those of GameConfig
    """Whom and what to play with: the settings of the game, and these.

    Attributes:
        model: The model that base means: smollm2, a model directory or a hub id.
        max_new_tokens: Longest completion of a model, in tokens.
        temperature: Sampling temperature of models; 0 is greedy.
        allow_other_base: Put adapters on the model even if they were trained on, or name, another one.
        mix_worlds: Play parts that do not fit each other, such as a world's model on English seeds.
        seed: Chooses the games and all sampling in them.
        json: Print JSON instead of text.
    """

    model: Annotated[str | None, _run_or("model", policy_defaults().model)] = None
    max_new_tokens: Annotated[
        Count | None, _run_or("max_new_tokens", policy_defaults().max_new_tokens, "INT")
    ] = None
    temperature: Annotated[float | None, at_least(0), shown_as("FLOAT", "0")] = None
    allow_other_base: bool = False
    mix_worlds: bool = False
    seed: int = 0
    json: bool = False

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Everything a game needs but its agents.

    Attributes:
        game: The rules.
        source: The seeds.
        judge: The judge.
        pool: Makes agents.
        settings: What was chosen, by option, for reports.
        mix_worlds: Whether parts that do not fit each other are played.
        calibration: What is known of the judge.
    """

    game: Game
    source: SeedSource
    judge: Judge
    pool: AgentPool
    settings: dict[str, Any]
    mix_worlds: bool
    calibration: Calibration | None


def say_models(table: Table, progress: Shown) -> None:
    """Say which models were loaded since it was said last, and where they run."""
    for words in table.pool.new_models():
        progress.say(f"Model: {words}.")


def judge_record(judge: Judge) -> dict[str, Any]:
    """Return what a report says of a judge; of one that compares two, how often these differed."""
    identity = identity_of(judge)
    told = {"revision": identity.revision, "template": identity.template}
    known = {name: value for name, value in told.items() if value}
    record: dict[str, Any] = {"name": judge.name, "smoke_only": judge.smoke_only, **known}
    if isinstance(judge, DisagreementJudge):
        record["disagreement"] = judge.to_json()
    return record


def parse(
    options: type[T],
    argv: Sequence[str],
    prog: str,
    description: str,
    *,
    often: Sequence[str] = (),
    choices: Mapping[str, str] | None = None,
) -> T:
    """Read a command's arguments into its options.

    Args:
        options: A dataclass; its docstring explains each option.
        argv: The arguments.
        prog: The command, for usage lines.
        description: What ``--help`` starts with.
        often: The options that ``--help`` shows; by default all.
        choices: Options that name plug-ins, with the kind of these, whose lines stand in the help.

    Returns:
        The options.

    Raises:
        SystemExit: After ``--help`` (0) or a wrong argument (2), with a text on what is allowed.
    """
    return read(
        options,
        argv,
        prog=f"redteam-env {prog}",
        description=description,
        often=often,
        choices=choices,
        further=_PLUGINS if often else None,
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone),
    )


def set_table(
    options: GameOptions,
    specs: Sequence[str],
    option: str = "--{role}",
    *,
    judge_seat: bool = False,
) -> Table:
    """Resolve options, with those of the first run among the agents as defaults.

    Args:
        options: The options.
        specs: All agents that will play.
        option: How a user names an agent; ``{role}`` stands for its role.
        judge_seat: Whether the judge's seat is played, too.

    Returns:
        Rules, seeds, a judge that answers, and the maker of agents.

    Raises:
        RedteamError: If an agent, seed source, judge, preset or number is wrong.
    """
    for spec in specs:
        check_spec(spec)
    names = (*_OF_GAME, "model", "max_new_tokens", "mix_worlds")
    given = {name: getattr(options, name) for name in names} | {"mix_worlds": None}
    found = settings_for(specs, given, names, judge_seat=judge_seat)
    rules = GameConfig.from_flat({**found, "judge_seat": judge_seat})
    # an adapter directory names its own base, so only agents without any files need a default
    files = any(Path(spec).expanduser().exists() for spec in specs)
    settings = {
        **{name: getattr(rules, name) for name in _OF_GAME},
        "model": found["model"] or (None if files else policy_defaults().model),
        "max_new_tokens": found["max_new_tokens"] or policy_defaults().max_new_tokens,
        "temperature": options.temperature or 0.0,
        "seed": options.seed,
    }
    mix = options.mix_worlds or bool(found["mix_worlds"])
    fits = partial(
        check_fit, rules.seeds, rules.judge, model=settings["model"], agents=specs, mix=mix
    )
    fits()
    source = resolve_seeds(settings["seeds"])
    fits(source=source)
    judge = resolve_judge(settings["judge"], url=settings["judge_url"])
    calibration = calibration_of(judge)  # a damaged one is told of before anything is played
    check_ready(judge)
    game = build_game(rules)
    measure_of(game, judge)
    if (said := notice(judge)) is not None:
        make_console(stderr=True).print(safe_text(said), soft_wrap=True)
    pool = AgentPool(
        base=settings["model"],
        max_new_tokens=settings["max_new_tokens"],
        temperature=settings["temperature"],
        allow_other_base=options.allow_other_base,
        option=option,
        game=game,
        judge=judge,
    )
    return Table(
        game=game,
        source=source,
        judge=judge,
        pool=pool,
        settings=settings,
        mix_worlds=mix,
        calibration=calibration,
    )
