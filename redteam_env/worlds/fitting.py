"""Whether the parts of a game fit each other: a world's model knows no English, and its judge reads none.

A plug-in says which language its texts are in by the attribute ``language`` of what its entry point names
(:func:`redteam_env.protocols.speaks`): the name of a controlled world, ``english``, or any other word. A
plug-in that says nothing fits everything, and so do files, hubs and other people's models.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from redteam_env import registry
from redteam_env.game import RedteamError
from redteam_env.utils.lists import listed
from redteam_env.worlds.apothecary.levels import APOTHECARY
from redteam_env.worlds.embedded import CARD, MODELS


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a game, by the option that names it.

    Attributes:
        option: Such as ``seeds``.
        name: What it is called there.
        language: The language of its texts.
    """

    option: str
    name: str
    language: str


def check_fit(
    seeds: str,
    judge: str,
    *,
    model: str | None = None,
    agents: Sequence[str] = (),
    mix: bool = False,
) -> None:
    """Refuse parts of a game that are in several languages. Nothing is read or loaded but plug-ins.

    Args:
        seeds: The seeds, as :func:`redteam_env.seeds.resolve_seeds` takes them.
        judge: The judge, as :func:`redteam_env.judges.resolve.resolve_judge` takes it.
        model: The base model, if one plays.
        agents: Registered agents that play.
        mix: Allow it.

    Raises:
        RedteamError: If two of them say that they are in different languages.
    """
    if mix:
        return
    parts = [
        *(x for seed in listed(seeds) for x in _plugin("seeds", seed)),
        *_plugin("judges", judge),
        *_model(model),
        *(x for agent in agents for x in _plugin("agents", agent)),
    ]
    for one, other in combinations(parts, 2):
        if one.language != other.language:
            raise _misfit(one, other)


def _plugin(kind: str, spec: str) -> Iterator[Part]:
    name = registry.name_in(kind, spec)
    if name in registry.names(kind):
        language = getattr(registry.load(kind, name), "language", None)
        if isinstance(language, str):
            option = kind if kind == "seeds" else registry.singular(kind)
            yield Part(option, name, language)


def _model(spec: str | None) -> Iterator[Part]:
    if spec is None:
        return
    if spec in MODELS or (Path(spec).expanduser() / CARD).is_file():
        yield Part("model", spec, APOTHECARY)


def _misfit(one: Part, other: Part) -> RedteamError:
    worlds = registry.names("worlds")
    ours, theirs = (one, other) if one.language in worlds else (other, one)
    if ours.language in worlds:
        cure = (
            f"Give --world {ours.language} without --{theirs.option}, which brings parts that fit, or "
            f"another --{ours.option}"
        )
    else:
        cure = f"Give another --{ours.option} or --{theirs.option}"
    return RedteamError(
        f"The {_name(ours)} is in the language {ours.language!r}, the {_name(theirs)} in "
        f"{theirs.language!r}: they do not fit each other. {cure}; or play them all the same with "
        "--mix-worlds."
    )


def _name(part: Part) -> str:
    return f"{'seed source' if part.option == 'seeds' else part.option} {part.name!r}"
