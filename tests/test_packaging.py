"""What is shipped: one version everywhere, and the files that users need, no others."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGES = ("redteam_env", "agents", "algorithms")


def of_the_packages():
    """Every file of the packages that is no cache, by its path in the repository."""
    return {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == PROJECT["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    unreleased, newest, *_ = re.findall(r"^## (.+)", changelog, re.MULTILINE)
    assert unreleased == "Unreleased"
    assert re.fullmatch(rf"{re.escape(PROJECT['version'])} \(\d{{4}}-\d\d-\d\d\)", newest)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A source distribution, and the wheel that is built from it, as a release does."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run([*command, "--target", "sdist"], cwd=ROOT, check=True, capture_output=True)
    [sdist] = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    source = folder / sdist.name.removesuffix(".tar.gz")
    subprocess.run([*command, "--target", "wheel"], cwd=source, check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    return source, wheel


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(built):
    _, wheel = built
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == of_the_packages()
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert {Path(name).suffix for name in names} >= {".toml", ".txt", ".safetensors", ".json"}
    assert wheel.stat().st_size < 20_000_000


@pytest.mark.slow
def test_the_source_distribution_holds_what_it_takes_to_test_it(built):
    source, _ = built
    names = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    assert of_the_packages() <= names
    assert {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "tests/conftest.py"} <= names
    hidden = {name for name in names if name.startswith(".")} - {".gitignore"}
    assert all(name.startswith((".ci/", ".github/")) for name in hidden)
