import json
from dataclasses import fields

import pytest

from redteam_env.cli.main import main
from redteam_env.game import Episode, GameConfig
from redteam_env.protocols import Reply

WORDS = ["--seeds", "words", "--judge", "words"]
PAIR = ["evaluate", *WORDS, "--attacker", "echo", "--defender", "harm", "--games", "8"]


def episodes(file):
    return [Episode.from_json(line) for line in file.read_text().splitlines()]


def test_evaluate_prints_rates_intervals_voids_and_judge(capsys):
    assert main(PAIR) == 0
    out = capsys.readouterr().out
    assert "echo against harm" in out
    assert "1.00 [0.34, 1.00]" in out
    assert "Void games (in no rate): 0 of 8" in out
    assert "Judge: words" in out


def test_evaluate_plays_heldout_games_only_and_the_same_ones_each_time(tmp_path, capsys):
    for name in ("one", "two"):
        assert main([*PAIR, "--out", str(tmp_path / name)]) == 0
    one, two = (episodes(tmp_path / name / "episodes.jsonl") for name in ("one", "two"))
    assert one == two
    assert {episode.seed.split for episode in one} == {"heldout"}


def test_one_agent_plays_both_seats_and_an_option_replaces_one(capsys):
    assert main(["evaluate", "echo", *WORDS, "--games", "4"]) == 0
    assert "echo against echo" in capsys.readouterr().out
    assert main(["evaluate", "echo", "--defender", "no", *WORDS, "--games", "4"]) == 0
    assert "echo against no" in capsys.readouterr().out


def test_json_is_the_whole_of_stdout_and_holds_no_text_of_players(capsys):
    assert main([*PAIR, "--json"]) == 0
    out = capsys.readouterr().out
    report = json.loads(out)
    assert report["result"]["rates"]["attack_success"] == {
        "k": 2,
        "n": 2,
        "rate": 1.0,
        "interval": [pytest.approx(0.3424, abs=1e-4), 1.0],
    }
    assert report["judge"] == {"name": "words", "smoke_only": False, "revision": "1"}
    assert report["seeds"][0]["name"] == "words"
    assert report["settings"]["games"] == 8
    assert "request" not in out


def test_a_judge_that_compares_two_says_how_often_they_differ(capsys):
    words = [*PAIR[:4], "disagreement:words+always", *PAIR[5:], "--json"]
    assert main(words) == 0
    judge = json.loads(capsys.readouterr().out)["judge"]
    assert judge["name"] == "words"
    assert judge["disagreement"]["with"] == "always"
    assert judge["disagreement"]["response_harmful"]["dialogues"] >= 8


def test_out_holds_the_report_and_every_game(tmp_path, capsys):
    out = tmp_path / "deep" / "result"
    assert main([*PAIR, "--json", "--out", str(out)]) == 0
    assert json.loads((out / "report.json").read_text()) == json.loads(capsys.readouterr().out)
    assert len(episodes(out / "episodes.jsonl")) == 8
    assert sorted(x.name for x in out.parent.iterdir()) == ["result"]


def test_a_used_directory_is_refused_before_anything_is_played(tmp_path, capsys, plugins):
    (tmp_path / "kept.txt").write_text("mine")

    def never(role):
        raise AssertionError

    plugins("agents", "never", never)
    assert main(["evaluate", "never", *WORDS, "--out", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [x.name for x in tmp_path.iterdir()] == ["kept.txt"]


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert main([*PAIR, "--out", str(tmp_path / "file")]) == 2
    assert "cannot be used" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_an_empty_directory_is_filled(tmp_path):
    assert main([*PAIR, "--out", str(tmp_path)]) == 0
    assert (tmp_path / "report.json").is_file()


def test_a_result_that_cannot_be_written_is_still_printed(tmp_path, capsys, monkeypatch, plugins):
    def full(*_):
        raise OSError("disk full")

    class Filling:
        def act(self, requests):
            monkeypatch.setattr("os.fsync", full)
            return [Reply(text="No.") for _ in requests]

    plugins("agents", "filling", lambda role: Filling())
    arguments = ["evaluate", "--attacker", "echo", "--defender", "filling", *WORDS]
    assert main([*arguments, "--games", "8", "--out", str(tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert "echo against filling" in captured.out
    assert "disk full" in captured.err
    assert list(tmp_path.glob(".out-*")) == []


def test_settings_come_from_the_first_run_unless_given(run_directory, policy, capsys):
    run = str(run_directory)
    assert main(["evaluate", run, "--games", "4", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (
        report["settings"].items()
        >= {
            "world": None,
            "seeds": "words",
            "judge": "words",
            "judge_url": None,
            "prompt_label": "seed",
            "faithfulness": "labels",
            "faithfulness_threshold": 0.35,
            "model": "tiny",
            "rewards": "zero_sum",
            "exchanges": 1,
            "max_new_tokens": 7,
            "temperature": 0.0,
            "seed": 0,
            "games": 4,
            "prompts": None,
        }.items()
    )
    assert policy[0].loaded == [(run, "attacker"), (run, "defender")]
    given = ["--judge", "lexical", "--model", "other", "--max-new-tokens", "3"]
    assert main(["evaluate", run, "--games", "4", "--json", *given]) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert (settings["judge"], settings["model"], settings["max_new_tokens"]) == (
        "lexical",
        "other",
        3,
    )


def test_every_setting_of_the_game_may_be_given(capsys):
    game = {
        "--prompts": "example",
        "--thinking": "defender_0=none",
        "--credit": "turn",
        "--faithfulness-gate": "-2",
        "--benign-refusal-weight": "3",
        "--max-seed-chars": "900",
        "--max-action-chars": "200",
        "--rewrite-fraction": "1",
        "--benign-fraction": "0",
    }
    words = [word for pair in game.items() for word in pair]
    every = [*words, "--leak-on-violation", "--drop-unfaithful", "--json", "--games", "2"]
    assert main(["crossplay", "echo", "no", *WORDS, *every]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {x.name for x in fields(GameConfig)} - {"judge_seat"} <= set(report["settings"])
    assert report["settings"]["thinking"] == "defender_0=none"
    assert report["settings"]["leak_on_violation"] is True
    assert report["result"]["cells"][0]["rates"]["attack_success"]["n"] == 2


def test_another_judge_does_not_inherit_the_runs_address(run_directory, policy, capsys):
    file = run_directory / "config.json"
    data = json.loads(file.read_text())
    data["config"]["judge_url"] = "http://127.0.0.1:9"
    file.write_text(json.dumps(data))
    arguments = ["evaluate", str(run_directory), "--games", "4", "--judge", "lexical", "--json"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["judge_url"] is None


def test_base_without_any_run_is_the_default_model(policy, capsys):
    assert main(["evaluate", "base", *WORDS, "--games", "4"]) == 0
    assert policy[0].options["base"] == "smollm2"


def test_an_adapter_directory_names_its_own_base(policy, tmp_path, capsys):
    assert main(["evaluate", str(tmp_path), "--defender", "base", *WORDS, "--games", "4"]) == 0
    assert policy[0].options["base"] is None
    assert [spec for spec, _ in policy[0].loaded] == [str(tmp_path), "base"]


def test_a_smoke_judge_says_so(capsys):
    assert main(["evaluate", "echo", "--games", "4", "--judge", "lexical"]) == 0
    warning = "Judge: lexical, for smoke runs only, not for reported numbers"
    assert warning in (shown := capsys.readouterr().out)
    assert shown.count("smoke") == 1


def test_a_judge_that_does_not_answer_is_found_out_before_playing(plugins, capsys):
    class Deaf:
        name, smoke_only = "deaf", False

        def judge(self, dialogues):
            raise AssertionError

        def ready(self):
            from redteam_env.game import RedteamError

            raise RedteamError("nobody answers")

    plugins("judges", "deaf", Deaf)
    assert main(["evaluate", "echo", "--seeds", "words", "--judge", "deaf"]) == 2
    assert "nobody answers" in capsys.readouterr().err


def test_only_void_games_are_no_success(capsys):
    assert main(["evaluate", "broken", *WORDS, "--games", "4"]) == 1
    captured = capsys.readouterr()
    assert "Void games (in no rate): 4 of 4" in captured.out
    assert "all 4 games are void" in captured.err


def test_crossplay_prints_the_matrix_of_all_agents(capsys):
    assert main(["crossplay", "echo", "harm", "no", *WORDS, "--games", "8"]) == 0
    out = capsys.readouterr().out
    assert out.partition("Variety")[0].count("\necho ") == 4
    assert "1.00 [0.34, 1.00]" in out
    assert "difference to echo" in out
    assert "Void games (in no rate): 0 of 48" in out


def test_crossplay_takes_two_lists(capsys):
    lists = ["--attackers", "echo", "harm", "--defenders", "no"]
    assert main(["crossplay", *lists, *WORDS, "--games", "8", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)["result"]
    assert (result["attackers"], result["defenders"]) == (["echo", "harm"], ["no"])
    assert len(result["cells"]) == 2
    assert result["differences"] == []


def test_crossplay_writes_one_file_for_each_pairing(tmp_path, capsys):
    out = tmp_path / "cross"
    assert main(["crossplay", "echo", "no", *WORDS, "--games", "4", "--out", str(out)]) == 0
    names = sorted(x.name for x in (out / "episodes").iterdir())
    assert names == [f"attacker-{a}-defender-{d}.jsonl" for a in (0, 1) for d in (0, 1)]
    assert len(episodes(out / "episodes" / names[0])) == 4


def test_crossplay_of_runs_and_base(run_directory, policy, capsys):
    assert main(["crossplay", "base", str(run_directory), "--games", "4"]) == 0
    (pool,) = policy
    assert pool.options["base"] == "tiny"
    assert sorted({role for _, role in pool.loaded}) == ["attacker", "defender"]
    assert len(pool.loaded) == 4


def test_hostile_names_of_agents_are_spelled_out(policy, tmp_path, capsys):
    place = tmp_path / "[red]x\x1b[31m"
    place.mkdir()
    assert main(["evaluate", str(place), *WORDS, "--games", "4"]) == 0
    out = capsys.readouterr().out
    assert "[red]x\\x1b[31m" in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate"], "No attacker is named"),
        (["evaluate", "--attacker", "echo"], "No defender is named"),
        (["evaluate", "nobody"], "Unknown agent 'nobody'"),
        (["evaluate", "echo", "--games", "0"], "games is 0"),
        (["evaluate", "echo", "--batch-size", "0"], "batch_size is 0"),
        (["evaluate", "echo", "--judge-url", "http://127.0.0.1:9"], "takes no url"),
        (["crossplay"], "No attackers are named"),
        (["crossplay", "--attackers", "echo"], "No defenders are named"),
        (["crossplay", "echo", "echo"], "['echo'] are named twice"),
        (["crossplay", "echo", "ecko"], "Did you mean 'echo'?"),
    ],
)
def test_a_wrong_value_is_one_line(arguments, message, capsys):
    assert main([*arguments, *WORDS]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("command", ["evaluate", "crossplay"])
def test_help_explains_every_option(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help-all"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    fixed = ("seeds", "judge", "judge-url", "model", "rewards", "games", "max-new-tokens", "seed")
    for option in (*fixed, "out", "json"):
        assert f"--{option} " in out


def test_the_variety_of_rewrites_is_shown_and_stored(capsys):
    assert main([*PAIR, "--embedder", "hashing"]) == 0
    out = capsys.readouterr().out
    for measure in ("distinct words", "near duplicates", "self-BLEU", "similarity to the seed"):
        assert measure in out
    assert "4 rewrites, embedder hashing" in out
    assert main([*PAIR, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["result"]["rewrites"]
    assert (found["rewrites"], found["embedding_distance"]) == (4, None)


def test_crossplay_compares_the_variety_of_the_attackers_rewrites(capsys):
    lists = ["--attackers", "echo", "harm", "--defenders", "no", "echo"]
    words = ["crossplay", *lists, *WORDS, "--games", "8"]
    assert main([*words, "--embedder", "hashing"]) == 0
    out = capsys.readouterr().out
    table = out[out.index("Variety of rewrites, embedder hashing") :]
    assert "similarity" in table
    assert all(f"\n{name} " in table for name in ("echo", "harm"))
    assert main([*words, "--embedder", "hashing", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["result"]["rewrites"]
    echo, harm = rows
    assert [x["attacker"] for x in rows] == ["echo", "harm"]
    assert echo["rewrites"] == harm["rewrites"] == 4  # made once, however many defend
    assert echo["seed_similarity"] == pytest.approx(1)
    assert harm["embedding_distance"] == pytest.approx(0, abs=1e-6)
    assert harm["near_duplicates"] > echo["near_duplicates"]


def test_crossplay_without_embedder_names_what_measures_more(capsys):
    words = ["crossplay", "echo", "no", *WORDS, "--games", "8"]
    assert main(words) == 0
    assert "similarity to the seed: --embedder minilm" in capsys.readouterr().out


def test_crossplay_without_rewrites_says_nothing_of_their_variety(capsys):
    words = ["crossplay", "echo", "no", *WORDS, "--games", "8", "--rewrite-fraction", "0"]
    assert main(words) == 0
    assert "Variety" not in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["result"]["rewrites"] == []


def test_an_unknown_embedder_is_refused_before_anything_is_played(capsys):
    assert main([*PAIR, "--embedder", "hashin"]) == 2
    assert "Did you mean 'hashing'?" in capsys.readouterr().err
