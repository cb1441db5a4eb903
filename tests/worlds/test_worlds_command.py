"""The command ``worlds``."""

import json
import subprocess
import sys

import pytest

from agents.worlds_command import worlds
from redteam_env.game import RedteamError
from redteam_env.worlds.apothecary.levels import LEVELS, PRETRAINING

TINY = [
    *("--steps", "2", "--batch", "4", "--hidden", "16", "--layers", "1", "--intermediate", "16"),
    *("--games", "2", "--world.substances", "12", "--world.tactics", "alias", "story"),
    *("--world.rare", "alias"),
]


def test_show_lists_every_tactic_with_an_example(capsys):
    assert worlds(["show", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["counts"]["train"]["restricted"] == 32
    rows = {row["tactic"]: row for row in shown["tactics"]}
    assert rows["spelled"]["rare"]
    assert not rows["story"]["rare"]
    assert worlds(["show", "apothecary", "--world.seed", "3"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in rows)


def test_show_needs_no_torch():
    code = (
        "import sys; from agents.worlds_command import worlds; worlds(['show']); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_pretrain_writes_a_model_whose_gates_check_reads_its_world(tmp_path, capsys):
    out = tmp_path / "model"
    assert worlds(["pretrain", "apothecary", "--out", str(out), *TINY, "--json"]) == 1
    card = json.loads(capsys.readouterr().out)
    assert card["world"]["substances"] == 12
    assert card["command"].startswith("redteam-env worlds pretrain apothecary --out")
    assert worlds(["check", "--model", str(out), "--games", "1", "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert {row["name"] for row in rows} == {row["name"] for row in card["gates"]}
    assert worlds(["check", "--model", str(out), "--games", "1"]) == 1
    assert "missed" in capsys.readouterr().out


def test_a_levels_model_is_made_with_the_levels_settings(tmp_path, capsys):
    words = ["pretrain", "apothecary-hard", "--out", str(tmp_path / "model"), *TINY, "--json"]
    assert worlds(words) == 1
    card = json.loads(capsys.readouterr().out)
    assert card["version"] == "apothecary-hard-v1"
    assert card["world"]["rare_share"] == LEVELS["apothecary-hard"].rare_share
    assert card["pretraining"]["practice"] == PRETRAINING["apothecary-hard"].practice
    assert card["pretraining"]["steps"] == 2


def test_check_needs_a_card(tmp_path):
    with pytest.raises(RedteamError, match=r"card\.json.*worlds pretrain"):
        worlds(["check", "--model", str(tmp_path)])
    (tmp_path / "card.json").write_text('{"world": 3}')
    with pytest.raises(RedteamError, match=r"card\.json"):
        worlds(["check", "--model", str(tmp_path)])


def test_an_impossible_world_is_one_clear_error(tmp_path):
    with pytest.raises(RedteamError, match="distinct triples"):
        worlds(["pretrain", "--out", str(tmp_path / "x"), *TINY, "--world.ingredients", "3"])


def test_a_world_is_named_by_its_own_word_only(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert worlds(["show", "apothecary-easy", "--world.seed", "3"]) == 0
    assert "pretrain apothecary-easy" in capsys.readouterr().out
    assert worlds(["pretrain", "--out", "apothecary-coupled", *TINY, "--json"]) == 1
    card = json.loads(capsys.readouterr().out)
    assert card["version"] == "apothecary-v1"
    assert not card["world"]["coupled"]
    with pytest.raises(RedteamError, match="world 'apothecari'"):
        worlds(["check", "apothecari"])
