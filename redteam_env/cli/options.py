"""The options that ``play``, ``evaluate`` and ``crossplay`` share, and what they resolve to."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from redteam_env.evaluation import AgentPool, build_game, check_spec, run_defaults
from redteam_env.evaluation.agents import policy_defaults
from redteam_env.game import Count, Game, at_least, check_fields
from redteam_env.judges.judge import check_ready
from redteam_env.judges.resolve import resolve_judge
from redteam_env.protocols import Judge, SeedSource
from redteam_env.seeds import resolve_seeds

SEEDS = "builtin"
JUDGE = "lexical"

T = TypeVar("T")


def shown_as(metavar: str, default: str = "") -> Any:
    """Return how an option without a fixed default is shown in ``--help``."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=default and f"(default: {default})")


def _run_or(default: object, metavar: str = "NAME") -> Any:
    return shown_as(metavar, f"the first run's, else {default}")


@dataclass(frozen=True, kw_only=True)
class GameOptions:
    """Whom and what to play with.

    Attributes:
        seeds: Seed source: builtin, strongreject, advbench, a file or a hub data set.
        judge: Judge: lexical (smoke runs only), wildguard, or an installed one.
        judge_url: Address of the judge's server.
        model: The model that base means: smollm2, a model directory or a hub id.
        rewards: Reward preset: self_redteam, self_redteam_all_one, zero_sum, safety_only, magic.
        max_new_tokens: Longest completion of a model, in tokens.
        temperature: Sampling temperature of models; 0 is greedy.
        seed: Chooses the games and all sampling in them.
        json: Print JSON instead of text.
    """

    seeds: Annotated[str | None, _run_or(SEEDS)] = None
    judge: Annotated[str | None, _run_or(JUDGE)] = None
    judge_url: Annotated[str | None, _run_or("none", "URL")] = None
    model: Annotated[str | None, _run_or(policy_defaults().model)] = None
    rewards: Annotated[str | None, _run_or("self_redteam")] = None
    max_new_tokens: Annotated[Count | None, _run_or(policy_defaults().max_new_tokens, "INT")] = None
    temperature: Annotated[float, at_least(0)] = 0.0
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
    """

    game: Game
    source: SeedSource
    judge: Judge
    pool: AgentPool
    settings: dict[str, Any]


def parse(options: type[T], argv: Sequence[str], prog: str, description: str) -> T:
    """Read a command's arguments into its options.

    Args:
        options: A dataclass; its docstring explains each option.
        argv: The arguments.
        prog: The command, for usage lines.
        description: What ``--help`` starts with.

    Returns:
        The options.

    Raises:
        SystemExit: After ``--help`` (0) or a wrong argument (2), with a text on what is allowed.
    """
    return tyro.cli(
        options,
        args=list(argv),
        prog=f"redteam-env {prog}",
        description=description,
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone),
    )


def set_table(options: GameOptions, specs: Sequence[str]) -> Table:
    """Resolve options, with those of the first run among the agents as defaults.

    Args:
        options: The options.
        specs: All agents that will play.

    Returns:
        Rules, seeds, a judge that answers, and the maker of agents.

    Raises:
        RedteamError: If an agent, seed source, judge, preset or number is wrong.
    """
    for spec in specs:
        check_spec(spec)
    config = run_defaults(specs)

    def chosen(name: str, default: Any = None) -> Any:
        given = getattr(options, name)
        return config.get(name, default) if given is None else given

    # an adapter directory names its own base, so only agents without any files need a default
    files = any(Path(spec).expanduser().exists() for spec in specs)
    settings = {
        "seeds": chosen("seeds", SEEDS),
        "judge": chosen("judge", JUDGE),
        "judge_url": chosen("judge_url") if options.judge is None else options.judge_url,
        "model": chosen("model", None if files else policy_defaults().model),
        "rewards": chosen("rewards", Game().rewards.name),
        "max_new_tokens": chosen("max_new_tokens", policy_defaults().max_new_tokens),
        "temperature": options.temperature,
        "seed": options.seed,
    }
    game = build_game({**config, "rewards": settings["rewards"]})
    source = resolve_seeds(settings["seeds"])
    judge = resolve_judge(settings["judge"], url=settings["judge_url"])
    check_ready(judge)
    pool = AgentPool(
        base=settings["model"],
        max_new_tokens=settings["max_new_tokens"],
        temperature=options.temperature,
    )
    return Table(game=game, source=source, judge=judge, pool=pool, settings=settings)
