"""Whether the parts of a game fit each other: a world's model knows no English, and its judge reads none.

A plug-in says which language its texts are in by the attribute ``language`` of what its entry point names,
or of its class (:func:`redteam_env.protocols.speaks`): the name of a controlled world, ``english``, or any
other word. What says nothing fits everything, such as other people's models, judges and agents. Seeds that say
nothing (files, the hub, values) are told by what they are: all of a world's requests can be decoded.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

from redteam_env import registry
from redteam_env.border.functions import Answer, Reading
from redteam_env.game import RedteamError, Seed
from redteam_env.judges.card import card_names
from redteam_env.judges.resolve import judges_in
from redteam_env.protocols import BASE, ENGLISH, Agent, Judge, SeedSource
from redteam_env.runs import find_run, find_saved
from redteam_env.seeds.plain import PlainSeeds
from redteam_env.seeds.source import ListSource, every_seed
from redteam_env.utils.files import read_json
from redteam_env.utils.lists import listed, queried
from redteam_env.utils.places import ATTACK
from redteam_env.worlds.apothecary.grammar import Language
from redteam_env.worlds.apothecary.judge import ApothecaryJudge
from redteam_env.worlds.apothecary.levels import APOTHECARY
from redteam_env.worlds.apothecary.lexicon import make_world
from redteam_env.worlds.embedded import CARD, MODELS, world_of

_ADAPTER = "adapter_config.json"
_MIXTURE = "mixture:"
_MOST_SHOWN = 80
_OPTIONS = ("seeds", "judge", "model")
"""The options of a world that it brings itself."""
Decode = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a game, by the option that names it.

    Attributes:
        option: Such as ``seeds``, or what else it is, such as ``agent``.
        name: What it is called there.
        language: The language of its texts; of seeds that are in none that is known, which one shows it.
    """

    option: str
    name: str
    language: str

    def __str__(self) -> str:
        return f"{'seed source' if self.option == 'seeds' else self.option} {self.name!r}"

    @property
    def another(self) -> str:
        """How to ask for another one."""
        return f"another --{self.option}" if self.option in _OPTIONS else f"another {self.option}"


def check_fit(
    seeds: str | SeedSource | PlainSeeds,
    judge: str | Judge | Reading,
    *,
    source: SeedSource | Sequence[Seed] | None = None,
    model: str | None = None,
    agents: Sequence[str | Agent | Answer] = (),
    mix: bool = False,
    option: str = "seeds",
) -> None:
    """Refuse parts of a game that are in several languages.

    Without a source nothing is read or loaded but plug-ins, so that what names tell is told at once; with
    it, seeds are looked at whose source says nothing.

    Args:
        seeds: The seeds, as :func:`redteam_env.seeds.resolve_seeds` takes them.
        judge: The judge, as :func:`redteam_env.judges.resolve.resolve_judge` takes it.
        source: What the seeds are.
        model: The base model, if one plays.
        agents: The agents that play, as a user names them, or themselves.
        mix: Allow it.
        option: What the seeds are called, if they are requests from elsewhere, such as ``suite``.

    Raises:
        RedteamError: If two of them are in different languages.
    """
    if mix:
        return
    of_seeds, all_say = _seeds(seeds) if option == "seeds" else ([], False)
    rest = [*_judge(judge), *_model(model), *(x for agent in agents for x in _agent(agent))]
    parts = [*of_seeds, *rest]
    # the models of cards read any language that people speak: to them only a world's is foreign
    cards = list(_cards(judge))
    worlds = any(part.language in registry.names("worlds") for part in parts)
    _check([*parts, *cards] if worlds else parts)
    if all_say or source is None or not (parts or cards):
        return
    if told := list(
        _content(source, (option, _named(seeds, source)), parts, _decoders(judge, model))
    ):
        _check([*parts, *cards, *told])


def _check(parts: Sequence[Part]) -> None:
    for one, other in combinations(parts, 2):
        if one.language != other.language:
            raise _misfit(one, other)


def _seeds(seeds: Any) -> tuple[list[Part], bool]:
    """Return what seeds say of themselves, and whether all of them say it."""
    if isinstance(seeds, str):
        found = [list(_plugin("seeds", part)) for part in listed(seeds)]
        return [part for own in found for part in own], all(found)
    own = list(_object("seeds", seeds))
    return own, bool(own)


def _judge(judge: Any, option: str = "judge") -> Iterator[Part]:
    """Return what a judge, or those that it is made of, say."""
    if isinstance(judge, str):
        for name in judges_in(judge):
            yield from _plugin("judges", name, option)
        return
    for own in _made_of(judge):
        yield from _object(option, own)


def _made_of(judge: Any) -> Iterator[Any]:
    """Return a judge and those behind it."""
    yield judge
    inner, parts = _held(judge, "inner"), _held(judge, "parts")
    for own in (*(parts if isinstance(parts, tuple) else ()), *([inner] if inner else [])):
        yield from _made_of(own)


def _held(thing: Any, name: str) -> Any:
    """Return an attribute that an object has; nothing of one that answers to any name, such as a mock."""
    has = inspect.getattr_static(thing, name, None) is not None
    return getattr(thing, name, None) if has else None


def _cards(judge: Any) -> Iterator[Part]:
    """Return the cards of ours that a judge is named by."""
    for name in judges_in(judge) if isinstance(judge, str) else ():
        if name in card_names():
            yield Part("judge", name, ENGLISH)


def _agent(agent: Any) -> Iterator[Part]:
    if not isinstance(agent, str):
        yield from _object("agent", agent)
        return
    if agent.startswith(ATTACK):
        for own in _players_of(agent.removeprefix(ATTACK)):
            yield from _agent(own)
        return
    name, argument = registry.split_name(agent)
    if name == "judge" and argument is not None:
        yield from _judge(argument, "agent")
    elif name in registry.names("agents"):
        yield from _plugin("agents", name)
    else:
        found = [*_model(_base_of(agent)), *_taught(agent)]
        yield from (Part("agent", agent, x.language) for x in found)


def _players_of(attack: str) -> Iterator[str]:
    """Return the agents that the specification of a standing attack names: who writes for it, and its target."""
    head, options = queried(attack)
    known = (x for x in registry.names("attacks") if head.startswith(f"{x}:"))
    method = max(known, key=len, default=head)
    yield from filter(None, (head.removeprefix(method)[1:], options.get("target")))


def _taught(agent: str) -> Iterator[Part]:
    """Return the language of the seeds of a run whose weights a plug-in of its own plays."""
    saved = find_saved(agent)
    run = None if saved is None else find_run(saved.directory)
    seeds = None if run is None else (run.stored_config() or {}).get("seeds")
    if isinstance(seeds, str):
        yield from _seeds(seeds)[0]


def _base_of(agent: str) -> str | None:
    """Return the model that weights on disk are of."""
    place = Path(agent.removeprefix(_MIXTURE)).expanduser()
    if agent == BASE:
        return None
    if agent in MODELS or (place / CARD).is_file():
        return agent
    if not place.is_dir():
        return None
    run = find_run(place)
    if run is not None:
        base = (run.stored_config() or {}).get("model")
    else:
        file = place / _ADAPTER
        if not file.is_file():
            return None
        card = read_json(file, remedy="Restore it, or name another adapter.")
        base = card.get("base_model_name_or_path") if isinstance(card, dict) else None
    return base if isinstance(base, str) else None


def _plugin(kind: str, spec: str, option: str = "") -> Iterator[Part]:
    name = registry.name_in(kind, spec)
    if name in registry.names(kind):
        option = option or (kind if kind == "seeds" else registry.singular(kind))
        yield from _said(option, name, registry.load(kind, name))


def _object(option: str, thing: Any) -> Iterator[Part]:
    """Return what the class of an object says, or a function itself."""
    says = thing if inspect.isroutine(thing) else type(thing)
    if isinstance(getattr(says, "language", None), str):  # a name may be slow, or raise
        yield from _said(
            option, str(getattr(thing, "name", getattr(says, "__name__", option))), says
        )


def _said(option: str, name: str, says: Any) -> Iterator[Part]:
    language = getattr(says, "language", None)
    if isinstance(language, str):
        yield Part(option, name, language)


def _model(spec: str | None) -> Iterator[Part]:
    if spec is None:
        return
    if spec in MODELS or (Path(spec).expanduser() / CARD).is_file():
        yield Part("model", spec, APOTHECARY)


def _named(seeds: Any, source: SeedSource | Sequence[Seed]) -> str:
    """Return what seeds are called."""
    return seeds if isinstance(seeds, str) else str(getattr(source, "name", "given"))


def _content(
    source: SeedSource | Sequence[Seed],
    named: tuple[str, str],
    parts: Sequence[Part],
    decoders: Sequence[Decode],
) -> Iterator[Part]:
    """Return the language of seeds that say nothing, as far as it can be told."""
    worlds = any(part.language == APOTHECARY for part in parts)
    if isinstance(source, list | tuple):
        seeds: Sequence[Seed] = source
    elif worlds or isinstance(source, ListSource):  # what others keep may be long
        seeds = every_seed(source)  # type: ignore[arg-type]  # no sequence
    else:
        return
    foreign = next((x for x in seeds if not any(decode(x.text) for decode in decoders)), None)
    if worlds and foreign is not None:
        yield Part(*named, f"another (as seed {foreign.id[:_MOST_SHOWN]!r} shows)")
    elif not worlds and foreign is None and seeds:
        yield Part(*named, APOTHECARY)


def _decoders(judge: Any, model: str | None) -> list[Decode]:
    """Return what reads the language of each world that is named, and of the embedded one."""
    found: list[Decode] = [_embedded()]
    if not isinstance(judge, str):
        found += [x.decode for x in _made_of(judge) if isinstance(x, ApothecaryJudge)]
    if model is not None and (place := Path(model).expanduser()) and (place / CARD).is_file():
        found.append(Language(make_world(world_of(place))).decode)
    return found


@cache
def _embedded() -> Decode:
    return Language(make_world()).decode


def _misfit(one: Part, other: Part) -> RedteamError:
    worlds = registry.names("worlds")
    ours, theirs = (one, other) if one.language in worlds else (other, one)
    if ours.language not in worlds or theirs.option not in _OPTIONS:
        cure = f"Give {theirs.another}, or {ours.another}"
    else:
        cure = (
            f"Give --world {ours.language} without --{theirs.option}, which brings parts that fit, or "
            f"{ours.another}"
        )
    language = theirs.language if theirs.language.startswith("another ") else repr(theirs.language)
    return RedteamError(
        f"The {ours} is in the language {ours.language!r}, the {theirs} in {language}: they do not fit "
        f"each other. {cure}; or play them all the same with --mix-worlds (mix_worlds=True in Python)."
    )
