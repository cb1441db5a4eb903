"""Writing an export: a folder that others can use without the run.

===========================  =====================================================================
``README.md``                the model card
``NAME/``                    weights with their tokenizer; at the root if there is one set only
``base/``                    the base, if others could not get it
``prompts/``                 the instruction texts that they were trained under
``results/``                 stored games, by default without texts
``export.json``              what is in it, with the SHA-256 of each file
===========================  =====================================================================
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.sharing.bases import FOLDER, base_of
from agents.sharing.card import Placed, model_card
from agents.sharing.results import FOLDER as RESULTS
from agents.sharing.results import Results
from agents.sharing.settings import ExportConfig
from agents.sharing.weights import (
    Weights,
    checkpoint_of,
    copy_model,
    saved_weights,
    write_adapter,
    write_merged,
    write_model,
    write_tokenizer,
)
from redteam_env.evaluation.calibration import calibration_of
from redteam_env.evaluation.stored import told_of
from redteam_env.game import Prompts, RedteamError
from redteam_env.judges.resolve import resolve_judge
from redteam_env.report import calibration_lines
from redteam_env.runs import PROMPTS, Run, find_run
from redteam_env.trust import is_own, options_of
from redteam_env.utils.files import check_digests, digests_of, is_empty, read_record, write_aside
from redteam_env.utils.places import leaves
from redteam_env.worlds import is_invented, world_options

EXPORT = "export.json"
_OBJECTS = ("seeds", "judge", "prompts")
"""What the card tells of, from the run's record."""
SCHEMA = 1
_PROBE = ("Hello, world!", "  two\n\tlines: <|im_end|> \u00e9\u4e16")
"""What an exported tokenizer must read as the run's own does, beside the prompts."""


def export(
    place: Path,
    out: Path,
    config: ExportConfig,
    say: Callable[[str], object] = lambda _: None,
) -> dict[str, Any]:
    """Write an export of a run.

    Args:
        place: The run, or one of its checkpoints.
        out: Where to; it is not there, or empty.
        config: What, and how.
        say: Is told in a sentence what is left out.

    Returns:
        What ``export.json`` holds.

    Raises:
        RedteamError: If something cannot be exported so, a file of the run was altered, or the folder holds
            something.
    """
    if out.exists() and not (out.is_dir() and is_empty(out)):
        raise RedteamError(f"{str(out)!r} is not empty; name a new directory.")
    checkpoint = checkpoint_of(place)
    run = find_run(checkpoint)
    record = None if run is None else run.record(objects=_OBJECTS)
    if run is None or record is None:
        raise RedteamError(f"{str(place)!r} lies in no run; name a run or one of its checkpoints.")
    step = int(read_record(checkpoint / "manifest.json", remedy="Restore it.")["step"])
    found = saved_weights(checkpoint, [config.role] if config.role else [])
    results = Results.read(run.path, config.results)
    if results.fault is not None:
        say(f"The games of training are left out: {results.fault}")
    for left_out in (x for _, stored in results.tables for x in stored.left_out):
        say(told_of(left_out))
    prompts = _prompts(run, record)
    try:
        with write_aside(out.resolve(), shared=True) as folder:
            folder.mkdir(mode=0o755)
            placed = [_place(x, folder, config, prompts, alone=len(found) == 1) for x in found]
            if prompts is not None:
                (folder / PROMPTS).mkdir()
                for name, text in prompts.texts.items():
                    (folder / PROMPTS / f"{name}.txt").write_text(f"{text}\n", encoding="utf-8")
            if results.tables:
                (folder / RESULTS).mkdir()
                results.write(folder / RESULTS, texts=config.texts)
            licences = {x.base.licence for x in placed}
            known = next(iter(licences)) if len(licences) == 1 else None
            card = model_card(
                placed,
                record=record,
                step=step,
                results=results,
                calibration=_calibration(run, record),
                has_prompts=prompts is not None,
                licence=config.license or known or "other",
            )
            (folder / "README.md").write_text(card, encoding="utf-8")
            told = _told(placed, step, texts=config.texts and bool(results.tables))
            for path in folder.rglob("*"):  # safetensors writes for its owner alone
                path.chmod(0o755 if path.is_dir() else 0o644)
            told["files"] = digests_of(folder)
            (folder / EXPORT).write_text(f"{json.dumps(told, indent=2)}\n", encoding="utf-8")
            (folder / EXPORT).chmod(0o644)
            folder.chmod(0o755)  # whatever the umask left of it
    except OSError as error:
        raise RedteamError(f"{str(out)!r} could not be written: {error}.") from error
    return told


def read_export(place: Path) -> dict[str, Any] | None:
    """Return what ``export.json`` in a folder says, its files compared; ``None`` for another folder.

    Raises:
        RedteamError: If a file was altered, is missing, or lies elsewhere.
    """
    file = place / EXPORT
    if not file.is_file():
        return None
    remedy = "Export the run again."
    told = read_record(file, remedy=remedy, schema=SCHEMA, needed=["files", "texts"])
    files = told["files"]
    if not isinstance(files, dict) or any(
        leaves(place / x, place) or (place / x).is_symlink() for x in files
    ):
        raise RedteamError(f"{str(file)!r} names files outside of its folder. {remedy}")
    check_digests(place, files, what=f"The export {str(place)!r}", remedy=remedy)
    return told


def _place(
    weights: Weights, out: Path, config: ExportConfig, prompts: Prompts | None, *, alone: bool
) -> Placed:
    """Write one set of weights."""
    adapter = not weights.full and not config.merge
    base = base_of(weights, named=config.base, needed=adapter)
    name = "" if alone else weights.name
    folder = out / name
    folder.mkdir(exist_ok=True)
    texts = [*_PROBE, *(prompts.texts.values() if prompts else ())]
    if weights.full:
        copy_model(weights, folder)
        return Placed(weights=weights, folder=name, base=base, rank=None)
    if config.merge:
        loaded = weights.load_base()
        write_merged(weights, loaded, folder)
        write_tokenizer(loaded.tokenizer, folder, texts=texts)
        return Placed(weights=weights, folder=name, base=base, rank=None)
    tokenizer = weights.tokenizer()
    if base.copied and not (out / FOLDER).is_dir():
        (out / FOLDER).mkdir()
        write_model(weights.load_base().model, out / FOLDER)
        write_tokenizer(tokenizer, out / FOLDER, texts=texts)
    rank = write_adapter(weights, folder, base=base.name, revision=base.revision)
    write_tokenizer(tokenizer, folder, texts=texts)
    return Placed(weights=weights, folder=name, base=base, rank=rank)


def _told(placed: Sequence[Placed], step: int, *, texts: bool) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "step": step,
        "texts": texts,
        "weights": [
            {
                "folder": x.folder or ".",
                "roles": list(x.weights.roles),
                "adapter": x.rank is not None,
                "base": x.base.name,
                "base_revision": x.base.revision,
                "base_digest": x.base.digest,
                "serve": x.served,
            }
            for x in placed
        ],
    }


def _prompts(run: Run, record: Mapping[str, Any]) -> Prompts | None:
    """Return the texts that a run was trained under, if it kept them and they are still those."""
    prompts = run.prompts()
    digest = record.get("prompts", {}).get("digest")
    if prompts is not None and digest is not None and prompts.digest != digest:
        raise RedteamError(
            f"{str(run.path / PROMPTS)!r} holds other texts than the run was trained under "
            f"({prompts.digest}, not {digest}). Restore them, or remove the folder to export without."
        )
    return prompts


def _calibration(run: Run, record: Mapping[str, Any]) -> list[str]:
    """Return what is known here of the judge of a run that this account began, a line each."""
    config = options_of(run) or {}
    if not is_own(run) or not isinstance(name := config.get("judge"), str):
        return []
    try:
        judge = resolve_judge(name, url=config.get("judge_url"))
    except RedteamError:  # it may need what is not here any more; the record still names it
        return []
    if judge.name != record.get("judge", {}).get("name"):
        return []
    world = config.get("world")
    own = is_invented(world, config.get("seeds"))
    if world and own and name == world_options(world).get("judge"):
        return ["It decodes the world's own language, so its verdicts are exact."]
    return [line.plain for line in calibration_lines(calibration_of(judge))]
