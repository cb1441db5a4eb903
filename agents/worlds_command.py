"""The command ``worlds``: look at a controlled world, make its base model, check a model's gates.

torch is imported only by the subcommands that need it.
"""

import functools
import operator
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from redteam_env.game import Count, check_fields, unknown_name
from redteam_env.usage import READING, read
from redteam_env.utils.console import make_console, print_json, progress_bar
from redteam_env.utils.tables import Column, FittedTable
from redteam_env.worlds.apothecary import TACTICS, Corpus, WorldConfig, make_world
from redteam_env.worlds.apothecary.corpus import all_words
from redteam_env.worlds.apothecary.levels import APOTHECARY, LEVELS, PRETRAINING
from redteam_env.worlds.apothecary.tactics import SANDWICH
from redteam_env.worlds.embedded import embedded_model, world_of
from redteam_env.worlds.pretraining import PretrainConfig, limits_text, rate_text

Name = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="|".join(LEVELS))]
PROG = "redteam-env worlds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Show:
    """Show a world: its sizes and splits, and every tactic with an example.

    Attributes:
        name: Which world.
        world: Its knobs.
        json: Print JSON.
    """

    name: Name = APOTHECARY
    world: WorldConfig = field(default_factory=WorldConfig)
    json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretrain:
    """Make a world's base model and tokenizer, and check its gates.

    Attributes:
        name: Which world.
        out: Directory to write; it must not exist.
        world: The world's knobs.
        pretraining: How the model is made.
        json: Print the card as JSON.
    """

    out: str
    name: Name = APOTHECARY
    world: WorldConfig = field(default_factory=WorldConfig)
    pretraining: Annotated[PretrainConfig, tyro.conf.arg(name="")] = field(
        default_factory=PretrainConfig
    )
    json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Play the gates of a world with a model that was pretrained on it.

    Attributes:
        name: Which world.
        model: A directory that worlds pretrain wrote, whose card says which world; by default the
            world's own model.
        games: Games behind each gate.
        seed: Seed of the games.
        json: Print JSON.
    """

    name: Name = APOTHECARY
    model: str | None = None
    games: Count = PretrainConfig().games
    seed: int = PretrainConfig().seed
    json: bool = False

    def __post_init__(self) -> None:
        check_fields(self)


def worlds(argv: Sequence[str]) -> int:
    """Show a controlled world, pretrain its base model, or check a model's gates.

    Args:
        argv: ``show``, ``pretrain`` or ``check`` with options.

    Returns:
        0, or 1 if a gate was missed.

    Raises:
        RedteamError: If there is no such world, a value is wrong, the output exists or a model cannot
            be read.
    """
    named = _parsed(argv, APOTHECARY).name
    if named not in LEVELS:
        raise unknown_name("world", named, LEVELS)
    action = _parsed(argv, named)
    if isinstance(action, Show):
        return _show(action)
    if isinstance(action, Pretrain):
        return _pretrain(action, argv)
    return _check(action)


def _parsed(argv: Sequence[str], level: str) -> Any:
    """Return the subcommand that is asked for; what it does not say is as in a named world."""
    world = LEVELS[level]
    defaults = {
        "show": Show(world=world),
        "pretrain": Pretrain(world=world, pretraining=PRETRAINING[level], out=tyro.MISSING),
        "check": Check(),
    }
    choices: Any = [
        Annotated[type(x), tyro.conf.subcommand(label, default=x)] for label, x in defaults.items()
    ]
    actions: Any = functools.reduce(operator.or_, choices)
    if argv and argv[0] == "pretrain":  # it has many options
        about = "Make a world's base model and tokenizer, and check its gates."
        often = ("name", "out", "json")
        return read(
            Pretrain,
            argv[1:],
            prog=f"{PROG} pretrain",
            description=about,
            often=often,
            default=defaults["pretrain"],
        )
    return tyro.cli(
        actions,
        args=list(argv),
        registry=READING,
        prog=PROG,
        description="Show a controlled world, pretrain its base model, or check a model's gates.",
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def _show(action: Show) -> int:
    world = make_world(action.world)
    corpus = Corpus(world)
    counts = {
        split: {
            "restricted": sum(x.split == split for x in world.restricted),
            "ordinary": sum(x.split == split for x in world.ordinary),
            "combinations": len(world.combinations(split)),
        }
        for split in ("train", "heldout")
    }
    example, filler = world.restricted[0], world.ordinary[0]
    tactics = [
        {
            "tactic": name,
            "kind": TACTICS[name].kind,
            "rare": name in world.config.rare,
            "base_refusal": corpus.refusal_rate(frozenset({name})),
            "example": corpus.language.render(
                example, (name,), filler=filler if name == SANDWICH else None
            ),
        }
        for name in world.config.tactics
    ]
    if action.json:
        print_json({"words": len(all_words(world)), "counts": counts, "tactics": tactics})
        return 0
    console = make_console()
    sizes = FittedTable("split", "restricted", "ordinary", "combinations of tactics")
    for split, row in counts.items():
        sizes.row(split, *(str(x) for x in row.values()))
    console.print(sizes)
    console.print()
    table = FittedTable(
        "tactic",
        Column(heading="kind", words=True, drop=2),
        Column(heading="demonstrated", words=True, drop=1),
        "base refuses",
        Column(heading="example", words=True),
    )
    for one in tactics:
        often = "rarely" if one["rare"] else "often"
        refusal = f"{one['base_refusal']:.2f}"
        table.row(str(one["tactic"]), str(one["kind"]), often, refusal, str(one["example"]))
    console.print(table)
    console.print(f"{len(all_words(world))} words. Its base model: {PROG} pretrain {action.name}")
    return 0


def _pretrain(action: Pretrain, argv: Sequence[str]) -> int:
    from agents.pretrain import pretrain  # noqa: PLC0415 - torch only where it is needed

    with progress_bar(visible=not action.json) as progress:
        made = pretrain(
            Path(action.out).expanduser(),
            action.world,
            action.pretraining,
            command=shlex.join((*PROG.split(), *argv)),
            name=action.name,
            progress=progress,
        )
    if action.json:
        print_json(made.card)
    else:
        _print_gates(made.card["gates"])
        make_console().print(f"Model and card: {made.directory}")
    return 0 if made.passed else 1


def _check(action: Check) -> int:
    from agents.pretrain import check_gates, gate_row  # noqa: PLC0415 - torch as above

    directory = Path(action.model).expanduser() if action.model else embedded_model(action.name)
    config = world_of(directory)
    with progress_bar(visible=not action.json) as progress:
        gates = check_gates(
            directory, config, games=action.games, seed=action.seed, progress=progress
        )
    rows = [gate_row(gate) for gate in gates]
    if action.json:
        print_json(rows)
    else:
        _print_gates(rows)
    return 0 if all(gate.passed for gate in gates) else 1


def _print_gates(rows: Sequence[Mapping[str, Any]]) -> None:
    table = FittedTable(
        "gate",
        Column(heading="wanted", drop=2),
        "rate",
        Column(heading="95 % interval", drop=3),
        Column(heading="n", drop=4),
        Column(heading="", words=True),
    )
    for row in rows:
        low, high = row["interval"]
        wanted = limits_text(**row["limits"])
        verdict = "reported" if wanted == "-" else "passed" if row["passed"] else "missed"
        value = "-" if row["rate"] is None else rate_text(row["rate"])
        interval = f"{rate_text(low)} to {rate_text(high)}"
        table.row(row["name"], wanted, value, interval, str(row["n"]), verdict)
    make_console().print(table)
