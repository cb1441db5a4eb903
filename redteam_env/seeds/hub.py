"""Seeds from a data set of the Hugging Face hub, or from a local folder that holds one.

WildJailbreak's layout is known; any other set is read through the column mapping that files use.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redteam_env.game import RedteamError, unknown_name
from redteam_env.protocols import DataCard
from redteam_env.seeds.columns import OPTIONS, Columns, Row, check_options
from redteam_env.seeds.layouts import LAYOUTS as NAMED
from redteam_env.seeds.source import ListSource
from redteam_env.utils.hub import quiet_hub

HUB_OPTIONS = {
    "config": "configuration of the data set",
    "hf_split": "split of the data set to read (default: train, or the only one)",
    "revision": "commit, tag or branch on the hub; the newest by default, and the commit is recorded",
    "layout": f"id of a known data set whose copy the folder is, or one of {', '.join(NAMED)}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a known data set is read.

    Only rows with a text and one of the listed labels are taken; all others are left out.

    Attributes:
        config: Its configuration.
        load: Further arguments of ``datasets.load_dataset``.
        columns: The column mapping.
        licence: Of the data.
        citation: What to cite.
    """

    config: str
    load: Mapping[str, Any]
    columns: Mapping[str, str]
    licence: str
    citation: str


_UNKNOWN = "newest; revision=COMMIT fixes one"
_COMMIT = re.compile(r"@([0-9a-f]{40})/")
"""In the address of a file on the hub."""
LAYOUTS = {
    # The vanilla half. Its files are tab-separated, and "NA" or "null" in them are texts.
    "allenai/wildjailbreak": Layout(
        config="train",
        load={"delimiter": "\t", "keep_default_na": False},
        columns={
            "text": "vanilla",
            "label": "data_type",
            "harmful": "vanilla_harmful",
            "benign": "vanilla_benign",
        },
        licence="ODC-BY-1.0; gated: AI2 Responsible Use Guidelines",
        citation="Jiang et al. 2024, WildTeaming at Scale, arXiv:2406.18510",
    )
}


def from_hub(argument: str | None = None, **options: str) -> ListSource:
    """Return the seeds of a data set of the hub or of a local folder.

    Args:
        argument: The data set's id, such as ``allenai/wildjailbreak``, or a folder: one that
            ``save_to_disk`` wrote, or one of parquet, CSV or JSON-lines files.
        **options: See :data:`HUB_OPTIONS` and :data:`redteam_env.seeds.columns.OPTIONS`.

    Raises:
        RedteamError: If ``datasets`` is missing, the set cannot be had (the error tells a gated set
            from one that cannot be reached), a column is missing, or a cell cannot be read.
    """
    check_options("hub", options, HUB_OPTIONS | OPTIONS)
    if not argument:
        raise RedteamError(
            "The seed source 'hub' needs a data set's id or a folder, as in "
            "hub:allenai/wildjailbreak or hub:my_folder?text=prompt."
        )
    named = options.get("layout", argument)
    layout = LAYOUTS.get(named)
    if layout is None and "layout" in options and named not in NAMED:
        raise unknown_name("layout", named, [*LAYOUTS, *NAMED])
    mapping = Columns.from_options({**(layout.columns if layout else {}), **options})
    path = Path(argument).expanduser()
    folder = path.is_dir()
    name = path.resolve().name if folder else argument
    dataset = _load(argument, options, layout)
    if named in NAMED:
        place = f"{name} {options.get('config', '')} {options.get('hf_split', '')}".strip()
        mapping = Columns.from_options(NAMED[named].options(options, dataset.column_names, place))
    mapping = mapping.found(dataset.column_names, name, spec=f"hub:{argument}")
    wanted = [name for name in dataset.column_names if name in mapping.in_use()]
    rows: list[Row] = list(enumerate(dataset.select_columns(wanted).to_list(), 1))
    if layout:
        rows = [row for row in rows if _belongs(row[1], mapping)]
    if not rows:
        raise RedteamError(
            f"The data set {argument!r} is empty; choose another split with hf_split=NAME."
        )
    seeds = mapping.read(rows, dataset.column_names, name)
    stated = layout.licence if layout else dataset.info.license
    card = DataCard(
        name=name,
        licence=stated or "not stated; see the data set's own card",
        revision="" if folder else _commit(dataset) or options.get("revision", _UNKNOWN),
        sha256="",
        origin=argument if folder else f"{argument} on the hub",
        citation=layout.citation if layout else "",
    )
    return ListSource(seeds, card, max_chars=mapping.max_chars, keep_lines=mapping.keep_lines)


def _load(argument: str, options: Mapping[str, str], layout: Layout | None) -> Any:
    """Return one split as a ``datasets.Dataset``."""
    try:
        import datasets  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise RedteamError(
            f"Reading {argument!r} needs the package datasets: pip install 'redteam-env[eval]'."
        ) from error
    path = Path(argument).expanduser()
    try:
        if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
            found = datasets.load_from_disk(str(path))
        else:
            with quiet_hub():
                found = datasets.load_dataset(
                    str(path) if path.is_dir() else argument,
                    options.get("config", layout.config if layout else None),
                    revision=options.get("revision"),
                    **(layout.load if layout else {}),
                )
    except Exception as error:  # datasets passes on whatever its transport raises
        raise RedteamError(_cannot_load(argument, error, local=path.is_dir())) from error
    if not isinstance(found, dict):
        return found
    default = "train" if "train" in found or len(found) > 1 else next(iter(found))
    split = options.get("hf_split", default)
    if split not in found:
        raise unknown_name(
            f"split of {argument!r}:", split, found, hint="Choose one with hf_split=NAME."
        )
    return found[split]


def _commit(dataset: Any) -> str | None:
    """Return the commit that a data set of the hub was read at, as the addresses of its files tell it."""
    addresses = getattr(dataset.info, "download_checksums", None) or {}
    found = {match[1] for match in map(_COMMIT.search, addresses) if match}
    return found.pop() if len(found) == 1 else None


def _cannot_load(argument: str, error: Exception, *, local: bool) -> str:
    reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if local:
        cure = (
            "The folder must hold one data set: what save_to_disk wrote, or parquet, CSV or "
            "JSON-lines files; config=NAME chooses a configuration."
        )
    elif "gated" in reason.casefold():
        cure = (
            "It is gated: accept its terms on its page of the hub, then log in with 'hf auth "
            "login' or set HF_TOKEN."
        )
    else:
        cure = (
            "Check the id, the connection, and the options config and revision; without a "
            "connection, name a folder with a copy (hub:FOLDER)."
        )
    return f"Cannot load the data set {argument!r} ({reason}). {cure}"


def _belongs(cells: Mapping[str, Any], mapping: Columns) -> bool:
    label = str(cells.get(mapping.label or "")).casefold()
    text = cells.get(mapping.text or "")
    return label in (*mapping.harmful, *mapping.benign) and bool(text and str(text).strip())
