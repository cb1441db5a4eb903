"""Another distribution with a package ``agents``, in either order of installation, and after it is gone."""

import base64
import hashlib
import sys
from pathlib import Path

import pytest

import redteam_env
from redteam_env.utils import owners

ROOT = Path(redteam_env.__file__).parents[1]
CURE = "pip install --force-reinstall --no-deps redteam-env"
OURS = {
    "agents/__init__.py": "ours = 1\n",
    "agents/models.py": "x = 1\n",
    "algorithms/__init__.py": "",
}
THEIRS = {"agents/__init__.py": "theirs = 1\n", "agents/tool.py": "y = 1\n"}


def record_line(name, text):
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(text)}\n"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A site-packages; a distribution is installed into it, or uninstalled, as pip does."""

    def install(name, files):
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        info = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "RECORD").write_text("".join(record_line(*x) for x in files.items()))

    def uninstall(name, files):
        for path in files:
            (tmp_path / path).unlink()
        info = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        for path in info.iterdir():
            path.unlink()
        info.rmdir()

    monkeypatch.syspath_prepend(tmp_path)
    for name in [x for x in sys.modules if x.partition(".")[0] in owners.OURS]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(owners, "HOME", tmp_path)
    install.uninstall = uninstall
    owners._clash_of.cache_clear()
    return install


def clash(top="agents"):
    owners._clash_of.cache_clear()
    return owners.clash_of(top)


def test_a_wheel_by_itself_is_whole(site):
    site("redteam-env", OURS)
    assert clash("agents") is None
    assert clash("algorithms") is None


def test_one_that_was_installed_after_ours_is_named_with_the_cure(site):
    site("redteam-env", OURS)
    site("openai-agents", THEIRS)
    assert "replaced or hidden by files of openai-agents" in clash()
    assert CURE in clash()
    assert clash("algorithms") is None


def test_one_that_was_installed_before_ours_is_no_fault_but_shares_the_folder(site):
    site("openai-agents", THEIRS)
    site("redteam-env", OURS)
    assert clash() is None
    assert owners.sharing("agents") == ["openai-agents"]
    assert owners.sharing("algorithms") == []


def test_a_package_of_theirs_beside_a_module_of_ours_is_what_python_finds(site):
    site("openai-agents", {**THEIRS, "agents/models/__init__.py": ""})
    site("redteam-env", OURS)
    assert "'agents/models.py'" in clash()
    assert f"pip uninstall openai-agents; then {CURE}" in clash()


@pytest.mark.parametrize("ours_first", [True, False])
def test_after_it_is_uninstalled_our_missing_files_are_told(site, ours_first):
    for name, files in [("redteam-env", OURS), ("openai-agents", THEIRS)][
        :: 1 if ours_first else -1
    ]:
        site(name, files)
    site.uninstall("openai-agents", THEIRS)
    assert "'agents/__init__.py' of redteam-env is missing" in clash()
    assert CURE in clash()


def test_a_file_that_somebody_edited_in_place_is_still_ours(site, tmp_path):
    site("redteam-env", OURS)
    (tmp_path / "agents" / "__init__.py").write_text("ours = 2  # a print to look at it\n")
    assert clash() is None


def test_of_an_editable_installation_the_other_hides_ours_until_it_is_uninstalled(
    site, tmp_path, monkeypatch
):
    checkout = tmp_path.parent / f"{tmp_path.name}-checkout"
    (checkout / "agents").mkdir(parents=True)
    (checkout / "agents" / "__init__.py").write_text("")
    site("redteam-env", {"_editable.pth": f"{checkout}\n"})
    monkeypatch.setattr(sys, "path", [*sys.path[:1], str(checkout), *sys.path[1:]])
    monkeypatch.setattr(owners, "HOME", checkout)
    assert clash() is None
    site("openai-agents", THEIRS)
    assert "pip uninstall openai-agents" in clash()
    site.uninstall("openai-agents", THEIRS)
    (tmp_path / "agents").rmdir()
    assert clash() is None
