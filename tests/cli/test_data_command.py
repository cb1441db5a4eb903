import json

import pytest

from redteam_env import registry
from redteam_env.cli.data import data
from redteam_env.game import RedteamError, Seed
from redteam_env.protocols import DataCard
from redteam_env.seeds import ListSource
from redteam_env.seeds.columns import OPTIONS
from redteam_env.seeds.files import FILE_OPTIONS
from redteam_env.seeds.hub import HUB_OPTIONS


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REDTEAM_ENV_CACHE", str(tmp_path / "cache"))


def test_list_tells_what_is_known_without_fetching(capsys):
    assert data(["list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["builtin"]["harmful"] == rows["builtin"]["benign"] == 200
    assert rows["builtin"]["here"] is True
    assert rows["strongreject"]["harmful"] == 313
    assert rows["strongreject"]["here"] is False
    assert rows["advbench"]["licence"] == "MIT"
    assert {"file", "hub"} <= set(rows)


def test_list_prints_a_table(capsys):
    assert data(["list"]) == 0
    printed = capsys.readouterr().out
    for part in ("builtin", "Apache-2.0", "not yet", "hub:ID", "redteam-env data get"):
        assert part in printed


def test_get_prints_card_and_counts(capsys):
    assert data(["get", "builtin"]) == 0
    printed = capsys.readouterr().out
    for part in ("Apache-2.0", "sha256", "train", "150", "heldout", "50", "30 categories"):
        assert part in printed


def test_get_counts_by_label_and_split_as_json(tmp_path, capsys):
    path = tmp_path / "mine.csv"
    path.write_text("text,harmful\nA note,yes\nA NOTE!,yes\nA lie,yes\n", encoding="utf-8")
    assert data(["get", f"{path}?heldout=0,builtin?only=benign", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["counts"] == {
        "train": {"harmful": 2, "benign": 150},
        "heldout": {"harmful": 0, "benign": 50},
    }
    assert summary["duplicates"] == 1
    assert [card["name"] for card in summary["cards"]] == ["mine.csv", "builtin"]


def test_hostile_text_in_a_card_does_not_reach_the_terminal(capsys):
    def factory(argument=None):
        card = DataCard(
            name="theirs", licence="\x1b[2J[red]x", revision="1", sha256="", origin="test"
        )
        return ListSource([Seed(id="1", text="A note", harmful=True)], card)

    registry.register("seeds", "theirs", factory)
    assert data(["get", "theirs"]) == 0
    printed = capsys.readouterr().out
    assert "\x1b[2J" not in printed
    assert "\\x1b[2J[red]x" in printed
    assert data(["list"]) == 0
    assert "registered in process" in capsys.readouterr().out


def test_an_unknown_source_is_an_error_that_lists_all():
    with pytest.raises(RedteamError, match="Did you mean 'builtin'"):
        data(["get", "bultin"])


def test_help_names_both_commands_and_every_option(capsys):
    with pytest.raises(SystemExit) as ended:
        data(["--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "list" in printed
    assert "get" in printed
    with pytest.raises(SystemExit) as ended:
        data(["get", "--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    for option in (*OPTIONS, *FILE_OPTIONS, *HUB_OPTIONS, "only=harmful"):
        assert option in printed


@pytest.mark.parametrize("argv", [[], ["get"], ["fetch", "builtin"]])
def test_a_wrong_command_line_ends_with_2(argv, capsys):
    with pytest.raises(SystemExit) as ended:
        data(argv)
    assert ended.value.code == 2
    assert capsys.readouterr().err
