"""How varied the rewrites of attackers are: of runs at both ends, of evaluations, cross-plays and attacks."""

from collections.abc import Callable, Mapping, Sequence

from redteam_env.evaluation.rewrites import Variety, variety
from redteam_env.page.blocks import Block, Section, Table, finite, shown
from redteam_env.page.charts import curves, values_of
from redteam_env.page.glance import Ends
from redteam_env.page.sources import Kind, Source
from redteam_env.page.stored import list_of, mapping_of

_ABOUT = "Few different words or many near duplicates tell of an attacker that has collapsed."
_SHARES = ("distinct_1", "distinct_2", "near_duplicates")


def diversity_section(sources: Sequence[Source], ends: Mapping[str, Ends]) -> Section | None:
    """Return the measures of every source with rewrites; ``None`` without any.

    Args:
        sources: What the report is about.
        ends: The first and the last games of each run.
    """
    blocks: list[Block | None] = []
    for source in sources:
        found = _measured(source, ends.get(source.name))
        blocks.append(_table(source.name, {k: x for k, x in found.items() if x is not None}))
        novelty = {"attacker": values_of(source.rows, "attacker/novelty")}
        blocks.append(curves(f"{source.name}: novelty of rewrites", novelty, share=False))
    drawn = [x for x in blocks if x is not None]
    if not drawn:
        return None
    return Section(anchor="diversity", title="Diversity of rewrites", about=_ABOUT, blocks=drawn)


def _measured(source: Source, ends: Ends | None) -> dict[str, Variety | None]:
    """Return what was measured when the games were played, else what they give now."""
    if ends is not None:
        both = zip(ends.titles, ends.episodes, strict=True)
        return {title: variety(episodes) for title, episodes in both}
    result = source.record.get("result")
    if source.kind is Kind.SUITES:
        suites = [mapping_of(x) for x in list_of(result)]
        known = {shown(x.get("name"), 60): _stored(x.get("rewrites")) for x in suites}
        return {
            group.title: known.get(group.title) or variety(group.episodes) for group in source.games
        }
    if source.kind is Kind.CROSSPLAY:
        rows = [mapping_of(x) for x in list_of(mapping_of(result).get("rewrites"))]
        known = {shown(x.get("attacker"), 60): _stored(x) for x in rows}
        # every defender met the same seeds: the games against one of them are the attacker's texts once
        first = {shown(group.attacker, 60): group for group in reversed(source.games)}
        names = dict.fromkeys(shown(group.attacker, 60) for group in source.games)
        return {name: known.get(name) or variety(first[name].episodes) for name in names}
    if source.kind is Kind.EVALUATION:
        stored = _stored(mapping_of(result).get("rewrites")) if len(source.games) == 1 else None
        return {group.title: stored or variety(group.episodes) for group in source.games}
    return {}


def _stored(record: object) -> Variety | None:
    """Return what a report stored of rewrites; ``None`` for anything else."""
    own = mapping_of(record)
    many, shares = finite(own.get("rewrites")), [finite(own.get(name)) for name in _SHARES]
    if many is None or None in shares:
        return None
    distinct_1, distinct_2, near = (x or 0.0 for x in shares)
    return Variety(
        rewrites=int(many),
        distinct_1=distinct_1,
        distinct_2=distinct_2,
        near_duplicates=near,
        self_bleu=finite(own.get("self_bleu")),
        embedding_distance=finite(own.get("embedding_distance")),
        seed_similarity=finite(own.get("seed_similarity")),
    )


def _table(name: str, found: Mapping[str, Variety]) -> Table | None:
    if not found:
        return None
    measures: dict[str, Callable[[Variety], float | None]] = {
        "distinct words": lambda x: x.distinct_1,
        "distinct word pairs": lambda x: x.distinct_2,
        "near duplicates": lambda x: x.near_duplicates,
        "self-BLEU (low is varied)": lambda x: x.self_bleu,
        "embedding distance (high is varied)": lambda x: x.embedding_distance,
        "similarity to the seed": lambda x: x.seed_similarity,
    }
    rows = [["rewrites compared", *(f"{x.rewrites:,}" for x in found.values())]]
    for title, of in measures.items():
        values = [of(x) for x in found.values()]
        if any(x is not None for x in values):
            rows.append([title, *("-" if x is None else f"{x:.3f}" for x in values)])
    return Table(title=name, headings=["measure", *(shown(x, 120) for x in found)], rows=rows)
