"""The commands ``export`` and ``push``."""

import dataclasses
import json
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from agents.sharing.settings import ExportConfig
from redteam_env.game import RedteamError
from redteam_env.usage import need, read
from redteam_env.utils.consent import has_person
from redteam_env.utils.console import make_console, print_json
from redteam_env.utils.text import safe_text

_REPO = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions(ExportConfig):
    """What is exported, and where to.

    Attributes:
        run: A run, or one of its checkpoints.
        directory: Where to; a new directory.
        json: Print JSON.
    """

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    directory: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PushOptions(ExportConfig):
    """What is uploaded, and where to.

    Attributes:
        run: A run, one of its checkpoints, or what export wrote.
        repo: A model repository of the Hugging Face hub; it is made if it is not there.
        public: Let everybody see it; by default it is private.
        dry_run: List what would be uploaded, and upload nothing.
        yes: Do not ask before uploading.
        json: Print JSON.
    """

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    repo: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OWNER/NAME")]
    public: bool = False
    dry_run: bool = False
    yes: bool = False
    json: bool = False


def export(argv: Sequence[str]) -> int:
    """Write a run's weights for others: adapters or models with tokenizer, prompts, results and a card.

    Args:
        argv: The command's arguments.

    Returns:
        0.

    Raises:
        RedteamError: If something cannot be exported so.
    """
    text = "Write a run's weights for others: with tokenizer, prompts, results and a model card."
    options = _parse(ExportOptions, argv, "export", text)
    need("export", {"torch": "train"})
    from agents.sharing.export import export as write  # noqa: PLC0415 - imports torch

    told = write(Path(options.run), Path(options.directory), _config(options), _say)
    if options.json:
        print(json.dumps(told))  # noqa: T201 - the command's output
        return 0
    console = make_console()
    console.print(safe_text(f"{options.directory}: {len(told['files']) + 1} files."))
    for weights in told["weights"]:
        what = "adapter" if weights["adapter"] else "model"
        line = f"{weights['folder']}: {what} of {' and '.join(weights['roles'])}, base {weights['base']}"
        console.print(safe_text(line), soft_wrap=True)
        console.out(safe_text(f"  {weights['serve']}"))  # to be copied as it stands
    return 0


def push(argv: Sequence[str]) -> int:
    """Upload a run's weights to the Hugging Face hub, into a private repository unless told otherwise.

    Args:
        argv: The command's arguments.

    Returns:
        0; 1 if the answer to the question was no.

    Raises:
        RedteamError: If something cannot be exported, holds texts that were not asked for, or cannot be
            uploaded.
    """
    text = "Upload a run's weights to the Hugging Face hub, into a private repository by default."
    options = _parse(PushOptions, argv, "push", text)
    need("push", {"torch": "train"})
    if not _REPO.fullmatch(options.repo):
        raise RedteamError(f"The repository is {options.repo!r}; give OWNER/NAME.")
    from agents.sharing.export import export as write  # noqa: PLC0415 - imports torch
    from agents.sharing.export import read_export  # noqa: PLC0415

    place = Path(options.run).expanduser()
    told = read_export(place) if place.is_dir() else None
    if told is not None:
        _check_unchanged(options)
        return _push(place, told, options)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "export"
        return _push(out, write(place, out, _config(options), _say), options)


def _push(folder: Path, told: Mapping[str, Any], options: PushOptions) -> int:
    from agents.sharing.hub import files_of, upload  # noqa: PLC0415 - imports torch

    if told["texts"] and not options.texts:
        raise RedteamError(
            f"The results in {options.run!r} hold what players wrote, which may be harmful. Export it again "
            "without --texts, or give --texts here, too."
        )
    files = dict(files_of(folder, told))
    console = make_console(stderr=not options.dry_run)
    if not (options.dry_run and options.json):
        for name, size in files.items():
            console.print(safe_text(f"{size / 1e6:10.3f} MB  {name}"))
    who = "public" if options.public else "private"
    record = {"repo": options.repo, "public": options.public, "files": files}
    if options.dry_run and options.json:
        print_json({**record, "uploaded": None})
        return 0
    if options.dry_run:
        console.print(safe_text(f"Nothing was uploaded; this would go to {options.repo} ({who})."))
        return 0
    if not options.yes and not _agreed(f"Upload these files to {options.repo} ({who})?"):
        sys.stderr.write("Nothing was uploaded.\n")
        return 1
    from huggingface_hub import HfApi  # noqa: PLC0415 - takes time to import

    where = upload(folder, told, options.repo, public=options.public, api=HfApi())
    if options.json:
        print_json({**record, "uploaded": where})
    else:
        make_console().print(safe_text(f"Uploaded: {where}"), soft_wrap=True)
    return 0


def _say(text: str) -> None:
    make_console(stderr=True).print(safe_text(text, "yellow"), soft_wrap=True)


def _agreed(question: str) -> bool:
    if not has_person():
        raise RedteamError(
            f"{question} Nobody can be asked here: add --yes, or look with --dry-run."
        )
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _check_unchanged(options: PushOptions) -> None:
    """Refuse settings of an export for one that is written already."""
    for field in dataclasses.fields(ExportConfig):
        if field.name != "texts" and getattr(options, field.name) != field.default:
            name = field.name.replace("_", "-")
            raise RedteamError(
                f"{options.run!r} is an export already; leave --{name} out, or name the run."
            )


def _config(options: ExportConfig) -> ExportConfig:
    return ExportConfig(
        **{x.name: getattr(options, x.name) for x in dataclasses.fields(ExportConfig)}
    )


def _parse(kind: Any, argv: Sequence[str], name: str, text: str) -> Any:
    return read(kind, argv, prog=f"redteam-env {name}", description=text)
