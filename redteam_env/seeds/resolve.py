"""From what a user writes for seeds to the source that is meant.

A specification is a comma-separated union of parts. A part is ``NAME`` or ``NAME:ARGUMENT``, with
options behind it as in a web address: ``?key=value&key=value``. A path is short for ``file:PATH``.
Examples: ``builtin``, ``strongreject,builtin?only=benign``, ``prompts.csv?text=prompt&all=harmful``,
``hub:allenai/wildjailbreak``. Names and paths with a comma or a question mark cannot be written so;
inside options, ``%2C`` is a comma.
"""

from pathlib import Path

from redteam_env import registry
from redteam_env.border.seeds import check_source
from redteam_env.game import RedteamError, unknown_name
from redteam_env.game.values import shown
from redteam_env.protocols import SeedSource
from redteam_env.registry import build, unknown_plugin
from redteam_env.seeds.files import FILE_ENDINGS
from redteam_env.seeds.plain import PlainSeeds, is_plain, plain_source
from redteam_env.seeds.source import combine, only_label
from redteam_env.utils.lists import queried
from redteam_env.utils.places import code_hint

ONLY = {"harmful": True, "benign": False}
_RESERVED = ("kind", "name", "argument")


def resolve_seeds(spec: str | SeedSource | PlainSeeds, *, split: str = "train") -> SeedSource:
    """Return a seed source.

    Args:
        spec: A specification as this module describes it; or a source; or a list of seeds and of texts,
            which are harmful requests; or texts by label, as in ``{"harmful": [...], "benign": [...]}``.
        split: The split of texts.

    Returns:
        The source; of several parts, their union.

    Raises:
        RedteamError: If a name is unknown, an option is wrong, the object is no seed source, or
            a source's own data are faulty.
    """
    if is_plain(spec):
        return plain_source(spec, split=split)
    if not isinstance(spec, str):
        return check_source(spec, f"seed source {shown(spec)}")
    parts = [part.strip() for part in spec.split(",")]
    if not all(parts):
        raise RedteamError(
            f"The seeds {spec!r} have an empty part; write one source, or several between commas. "
            f"Sources: {', '.join(registry.names('seeds'))}, or the path of a file."
        )
    sources = [_part(part) for part in parts]
    return sources[0] if len(sources) == 1 else combine(sources)


def _part(part: str) -> SeedSource:
    head, options = _options(part)
    only = options.pop("only", None)
    if only is not None and only not in ONLY:
        raise unknown_name(f"label in {part!r}:", only, ONLY, guess=False)
    known = registry.names("seeds")
    name, colon, argument = (head, "", "") if head in known else head.partition(":")
    if name not in known:
        if not head.lower().endswith(FILE_ENDINGS) and not Path(head).expanduser().exists():
            raise unknown_plugin(
                "seeds",
                head if code_hint(head) else name,
                known,
                hint="A file is named by its path (.csv, .tsv, .txt, .json, .jsonl, .parquet), a data "
                "set of the hub by hub:ID.",
            )
        name, colon, argument = "file", ":", head
    found = build("seeds", name, argument=argument if colon else None, **options)
    source = check_source(found, f"seed source {name!r}")
    return source if only is None else only_label(source, harmful=ONLY[only])


def _options(part: str) -> tuple[str, dict[str, str]]:
    head, options = queried(part)
    for name in _RESERVED:
        if name in options:
            raise RedteamError(
                f"{name!r} in {part!r} is no option; the argument of a source stands behind a "
                "colon, as in file:seeds.csv."
            )
    return head, options
