"""What a benchmark needs to run: its directory, and its tasks in several processes."""

from pathlib import Path
from typing import Any

from algorithms.studies import manifests
from algorithms.studies.bench.config import BenchConfig
from algorithms.studies.bench.manifest import check_digest
from redteam_env.utils.files import read_json


def open_bench(file: Path, manifest: dict[str, Any]) -> None:
    """Make a benchmark's directory, or check that it is this one's and nobody edited its manifest.

    Args:
        file: The manifest's place.
        manifest: The manifest.

    Raises:
        RedteamError: If it holds something else, another manifest, or an edited one.
    """
    if file.is_file():
        check_digest(read_json(file, remedy="Give another --out."), file)
    manifests.open_directory(file, manifest, what="benchmark")


def work(config: BenchConfig, root: str, task: Any) -> str:
    """Do a task in a worker process."""
    from algorithms.studies.bench.work import do  # noqa: PLC0415 - imports torch

    return do(config, Path(root), task)
