"""An experiment's directory holds the results of one manifest, and the command says what it lacks."""

import json
import shutil
import sys
from dataclasses import replace
from importlib.metadata import version

import pytest
from experiment_fakes import tiny_data, tiny_experiment, toml

from algorithms.cli import experiment as command
from algorithms.studies.experiments.reading import experiment_from
from algorithms.studies.experiments.tasks import MANIFEST, manifest_of
from algorithms.studies.manifest import open_directory as open_for
from redteam_env import register, usage
from redteam_env.cli.main import main
from redteam_env.game import RedteamError
from redteam_env.registry import isolated, load
from redteam_env.worlds.apothecary import ApothecaryJudge
from redteam_env.worlds.apothecary.levels import versioned
from redteam_env.worlds.embedded import embedded_model

TINY = tiny_experiment()


def open_directory(experiment, root):
    open_for(root / MANIFEST, manifest_of(experiment), what="experiment")


def test_a_directory_is_opened_once_and_again(tmp_path):
    root = tmp_path / "new" / "tiny"
    open_directory(TINY, root)
    first = (root / "experiment.json").read_bytes()
    open_directory(tiny_experiment(), root)
    assert (root / "experiment.json").read_bytes() == first
    held = json.loads(first)
    assert held["experiment"] == tiny_data()
    assert set(held["versions"]) >= {"redteam-env", "torch", "transformers", "peft", "numpy"}
    assert [len(x) for x in held["files"].values()] == [16]
    assert held["plugins"]["judges/apothecary"].startswith("redteam-env ")
    assert str(tmp_path).encode() not in first


def changed(place, value):
    def change(data):
        *path, last = place
        for name in path:
            data = data[name]
        data[last] = value

    return tiny_experiment(change)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("training", "rank"), 8, r"experiment\.training\.rank: 4 there, 8 now"),
        (("primary", "over_refusal"), 0.2, r"primary\.over_refusal: 0\.1 there, 0\.2 now"),
        (("evaluation", "seed"), 7, r"evaluation\.seed: None there, 7 now"),
        (("parts", "arms", "arms", "shared", "rank"), 2, r"arms\.arms\.shared\.rank"),
        (("parts", "arms", "about"), "Else.", r"arms\.about"),
    ],
)
def test_another_configuration_is_refused_with_the_difference(tmp_path, place, value, message):
    open_directory(TINY, tmp_path / "tiny")
    with pytest.raises(RedteamError, match=rf"tiny.*another manifest \(.*{message}.*--out"):
        open_directory(changed(place, value), tmp_path / "tiny")


def test_another_version_of_a_package_is_refused_with_both(tmp_path):
    open_directory(TINY, tmp_path / "tiny")
    file = tmp_path / "tiny" / "experiment.json"
    file.write_text(file.read_text().replace(f'"numpy": "{version("numpy")}"', '"numpy": "9.9"'))
    with pytest.raises(RedteamError, match=r"versions\.numpy: '9\.9' there, '\d.*' now"):
        open_directory(TINY, tmp_path / "tiny")


def test_another_base_model_under_the_same_name_is_refused(tmp_path):
    model = shutil.copytree(embedded_model("apothecary"), tmp_path / "model")
    made = changed(("training", "model"), str(model))
    open_directory(made, tmp_path / "tiny")
    open_directory(made, tmp_path / "tiny")
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(RedteamError, match=r"files\..*/model: '\w{16}' there, '\w{16}' now"):
        open_directory(made, tmp_path / "tiny")


def test_a_plug_in_from_elsewhere_is_refused(tmp_path, installed):
    entry = "[redteam_env.judges]\nmine = mine:mine\n"
    code = "from redteam_env.worlds.apothecary import ApothecaryJudge as mine\n"
    made = changed(("training", "judge"), "mine")
    installed(code, entry, name="first-mine", module="mine")
    open_directory(made, tmp_path / "tiny")
    assert "judges/mine" in json.loads((tmp_path / "tiny" / MANIFEST).read_text())["plugins"]
    open_directory(made, tmp_path / "tiny")
    register("judges", "mine", ApothecaryJudge)
    with pytest.raises(
        RedteamError, match=r"plugins\.judges/mine: 'first-mine 1\.2, \w+' there, 'reg"
    ):
        open_directory(made, tmp_path / "tiny")


def test_case_c4_a_plug_in_whose_source_changed_is_refused_though_its_version_did_not(
    tmp_path, installed
):
    code = """
from redteam_env.worlds.apothecary import ApothecaryJudge
class Mine(ApothecaryJudge):
    pass
"""
    made = changed(("training", "judge"), "mine")
    installed(code, "[redteam_env.judges]\nmine = mine:Mine\n", name="first-mine", module="mine")
    open_directory(made, tmp_path / "tiny")
    (tmp_path / "mine.py").write_text(f"{code}    # otherwise\n")
    with pytest.raises(
        RedteamError, match=r"judges/mine: 'first-mine 1\.2, (\w+)' there, 'first-mine"
    ):
        open_directory(made, tmp_path / "tiny")


@pytest.mark.parametrize("part", ["helper.py", "rubric.txt"])
def test_case_c4_a_change_anywhere_in_a_plug_ins_package_is_refused(
    tmp_path, installed, monkeypatch, part
):
    made = changed(("training", "judge"), "mine")
    package = tmp_path / "mine"
    package.mkdir()
    code = "from redteam_env.worlds.apothecary import ApothecaryJudge as Mine\n"
    for name, text in (("__init__.py", ""), ("judge.py", code), (part, "1\n")):
        (package / name).write_text(text)
    installed("", "[redteam_env.judges]\nmine = mine.judge:Mine\n", module="not_used")
    for name in ("mine", "mine.judge"):  # of this folder, and afterwards as they were
        monkeypatch.setitem(sys.modules, name, None)
        del sys.modules[name]
    open_directory(made, tmp_path / "tiny")
    (package / "__pycache__").mkdir(exist_ok=True)
    (package / "__pycache__" / "helper.pyc").write_bytes(b"1")
    open_directory(made, tmp_path / "tiny")
    (package / part).write_text("2\n")
    with pytest.raises(RedteamError, match=r"judges/mine: 'dummy-plugins 1\.2, \w+' there"):
        open_directory(made, tmp_path / "tiny")


def test_a_world_that_brings_other_options_is_refused(tmp_path):
    made = changed(("training", "world"), "apothecary")
    held = manifest_of(made)
    assert held["world_versions"] == {"apothecary": versioned("apothecary")}
    open_directory(made, tmp_path / "tiny")
    own = load("worlds", "apothecary")()
    with isolated():
        register(
            "worlds",
            "apothecary",
            lambda: replace(own, options={**own.options, "max_grad_norm": 0.25}),
            replace=True,
        )
        assert manifest_of(made)["configs"] != held["configs"]
        with pytest.raises(
            RedteamError, match=r"plugins\.worlds/apothecary: 'redteam-env .*' there"
        ):
            open_directory(made, tmp_path / "tiny")


def test_many_differences_are_counted(tmp_path):
    open_directory(TINY, tmp_path / "tiny")
    data = tiny_data()
    data["training"].update(lr=1.0, kl=0.5, rank=2, games=4, dropout=0.1, epochs=2, minibatch=3)
    with pytest.raises(RedteamError, match=r"; .*; .*; .*; .* and 2 more\)"):
        open_directory(experiment_from(data), tmp_path / "tiny")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.txt", "mine", "not empty and holds no experiment"),
        ("experiment.json", "{", "cannot be read"),
        ("experiment.json", "[]", "another manifest"),
        ("experiment.json", "{}", "another manifest"),
    ],
)
def test_a_directory_that_holds_something_else_is_left_alone(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(RedteamError, match=rf"{message}.*--out"):
        open_directory(TINY, tmp_path)
    assert [(x.name, x.read_text()) for x in tmp_path.iterdir()] == [(name, content)]


def test_a_file_in_the_place_of_a_directory_is_an_error(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RedteamError, match=r"file.*--out"):
        open_directory(TINY, tmp_path / "file")


def test_an_empty_directory_is_taken(tmp_path):
    open_directory(TINY, tmp_path)
    assert (tmp_path / "experiment.json").is_file()


def test_a_model_that_is_not_there_is_named_before_anything_is_written(tmp_path):
    made = changed(("training", "model"), str(tmp_path / "nothing"))
    with pytest.raises(RedteamError, match=r"nothing.*card\.json.*worlds pretrain"):
        open_directory(made, tmp_path / "tiny")
    assert not (tmp_path / "tiny").exists()


# the command


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(toml(tiny_data()))
    return "tiny.toml"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["claim"], "'claim'"),
        (["tiny.toml", "--part", "arm"], "'arm'"),
        (["tiny.toml", "--workers", "0"], "workers is 0"),
        (["tiny.toml", "--out", "tiny.toml"], "'tiny.toml'"),
        (["report", "tiny.toml"], "'runs/claims' holds no experiment"),
        (["report", "tiny.toml", "--out", "nowhere"], "'nowhere' holds no experiment"),
        (["verify", "nowhere"], "nowhere/experiment.json"),
        (["verify", "tiny.toml"], "tiny.toml/experiment.json"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_writes_nothing(file, tmp_path, capsys, words, message):
    assert main(["experiment", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert [x.name for x in tmp_path.iterdir()] == [file]


def test_a_report_by_another_configuration_is_refused(file, tmp_path, capsys):
    open_directory(TINY, tmp_path / "run")
    (tmp_path / file).write_text(toml(tiny_data()).replace("games = 8", "games = 4"))
    assert main(["experiment", "report", file, "--out", "run", "--to", "to"]) == 2
    assert "training.games: 8 there, 4 now" in capsys.readouterr().err
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize(("package", "extra"), command._NEEDED.items())
def test_a_missing_package_is_named_with_its_extra(monkeypatch, capsys, package, extra):
    find = usage.find_spec
    monkeypatch.setattr(usage, "find_spec", lambda x: None if x == package else find(x))
    assert main(["experiment", "claims"]) == 2
    needed = f"experiment needs {package}: pip install 'redteam-env[{extra}]'"
    assert needed in capsys.readouterr().err
