"""``evaluate --attack``: on held-out games and on suites, what it reports, what it refuses."""

import json

import pytest

from redteam_env.cli.main import main
from redteam_env.game import Episode
from redteam_env.protocols import Reply


class Weak:
    """Answers only what comes in the second frame."""

    def act(self, requests):
        return [
            Reply(text="HARM" if "second" in x.messages[-1]["content"] else "NO") for x in requests
        ]


class Writer:
    """Writes the seed in one frame after the other."""

    def act(self, requests):
        return [Reply(text=self.say(request)) for request in requests]

    def say(self, request):
        k = sum(x["role"] == "assistant" for x in request.messages)
        return f"the {('first', 'second')[k % 2]} frame: {request.seed.text}</message>"


@pytest.fixture(autouse=True)
def agents(plugins):
    plugins("agents", "weak", lambda role: Weak())
    plugins("agents", "writer", lambda role: Writer())


@pytest.fixture
def suite(small_suite):
    return small_suite()


def on_suite(suite, *more):
    return ["evaluate", "--suite", suite, "--defender", "weak", "--judge", "words", *more]


def on_games(*more):
    return [
        "evaluate",
        "--seeds",
        "words",
        "--judge",
        "words",
        "--games",
        "8",
        "--defender",
        "weak",
        *more,
    ]


def report_of(capsys, arguments):
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_suite_under_attack_shows_the_best_attempts_and_how_success_grew(suite, capsys):
    arguments = on_suite(suite, "--attack", "pair", "--attacker", "writer", "--attempts", "4")
    report = report_of(capsys, arguments)
    (result,) = report["result"]
    harmful, benign = result["rows"]
    assert harmful["figures"]["success"]["value"] == 1.0
    assert harmful["answers"] == 3, "one for each request, its best"
    assert harmful["within"]["rate"] == 1.0
    assert benign["figures"]["refusal"]["value"] == 1.0
    attacked = result["attacked"]
    assert attacked["made"] == 3 * 2 + 1
    assert attacked["queries"] == {"target": 7, "attacker": 7, "judge": 7, "unread": 0}
    assert [x["rate"] for x in attacked["success_within"]] == [0.0, 1.0, 1.0, 1.0]
    assert report["settings"]["attack"] == "pair"
    assert report["settings"]["attacker"] == "writer"
    assert "HARM one" not in json.dumps(report)
    assert main(arguments) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "Attack pair, the best of up to 4 attempts" in out
    assert "every figure above is that of the best attempt" in out
    assert "success within 4" in out
    assert "harm-based success" not in out
    assert "7 queries to the defender, 7 to the attacker, 7 to the judge" in out


def test_a_table_says_where_labels_alone_tell_what_a_message_asks_for(suite, capsys):
    attack = ("--attack", "pair:writer", "--attempts", "4", "--allow-void", "1")
    games = on_games("--attacker", "echo")
    for command, said in (
        (on_suite(suite, *attack), "Nobody compared what the messages ask for"),
        (games, "Faithful is by the judged label alone"),
    ):
        for more, times in (((), 1), (("--faithfulness", "embedding:hashing"), 0)):
            assert main([*command, *more]) == 0
            assert " ".join(capsys.readouterr().out.split()).count(said) == times


def test_the_variety_of_an_attacks_messages_is_shown_for_each_suite(suite, capsys):
    attack = ("--attack", "pair:writer", "--attempts", "4", "--embedder", "hashing")
    assert main(on_suite(suite, *attack)) == 0
    assert "7 rewrites, embedder hashing" in capsys.readouterr().out, "every attempt counts"
    (result,) = report_of(capsys, on_suite(suite, *attack))["result"]
    assert result["rewrites"]["rewrites"] == result["attacked"]["made"] == 7
    assert 0 < result["rewrites"]["seed_similarity"] < 1
    (plain,) = report_of(capsys, on_suite(suite))["result"]
    assert "rewrites" not in plain
    assert main(on_suite(suite, "--embedder", "hashing")) == 2
    assert "name one with --attack" in " ".join(capsys.readouterr().err.split())


def test_a_model_that_writes_nothing_usable_is_told_of(suite, capsys):
    assert main(on_suite(suite, "--attack", "pair:no", "--attempts", "2")) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "21 to the attacker, 21 of them unusable" in out
    assert "Most texts of the attacker's model could not be used" in out


def test_a_suite_that_was_attacked_is_not_attacked_again(suite, tmp_path, capsys, plugins):
    out = tmp_path / "out"
    arguments = on_suite(suite, "--attack", "pair:writer", "--attempts", "4", "--out", str(out))
    first = report_of(capsys, arguments)
    assert len((out / "episodes" / "small.jsonl").read_text().splitlines()) == 7

    class Never:
        def act(self, requests):
            raise AssertionError

    plugins("agents", "weak", lambda role: Never())
    assert report_of(capsys, arguments) == first


def test_an_attack_that_was_cut_goes_on_where_it_was(suite, tmp_path, capsys, plugins, monkeypatch):
    monkeypatch.setattr("redteam_env.cli.attacks.PART", 1)
    arguments = on_suite(suite, "--attack", "pair:writer", "--attempts", "4")
    whole = report_of(capsys, [*arguments, "--out", str(tmp_path / "whole")])
    asked = []

    class Cut(Weak):
        def act(self, requests):
            asked.append(len(requests))
            if len(asked) == 4:
                raise KeyboardInterrupt
            return super().act(requests)

    out = tmp_path / "cut"
    plugins("agents", "weak", lambda role: Cut())
    assert main([*arguments, "--out", str(out)]) == 130
    kept = (out / "episodes" / "small.part.jsonl").read_text().splitlines()
    assert len(kept) == 1 + 2, "one request with two attempts, behind what they cost"
    again = report_of(capsys, [*arguments, "--out", str(out)])
    assert len(asked) == 4 + 2 + 2 + 1
    assert again == whole
    assert not (out / "episodes" / "small.part.jsonl").exists()


def test_held_out_games_are_played_by_the_attack(tmp_path, capsys):
    out = tmp_path / "out"
    report = report_of(
        capsys, on_games("--attack", "pair:writer", "--attempts", "3", "--out", str(out))
    )
    assert report["result"]["attacker"] == "pair:writer"
    # of 4 harmful games 2 are raw, which no attack touches
    attacked = report["result"]["attacked"]
    assert [(x["rate"], x["requests"]) for x in attacked["success_within"]] == [
        (0.0, 2),
        (1.0, 2),
        (1.0, 2),
    ]
    episodes = [Episode.from_json(x) for x in (out / "episodes.jsonl").read_text().splitlines()]
    assert len(episodes) == 8
    assert sum(x.rewritten for x in episodes) == 4
    attempts = (out / "attempts.jsonl").read_text().splitlines()
    assert len(attempts) == attacked["made"]
    assert main(on_games("--attack", "best_of_n?sigma=0.1")) == 0
    assert "the best of up to 10 attempts" in capsys.readouterr().out


def test_an_attack_at_the_attackers_seat_of_cross_play_tells_its_cost(capsys):
    spec = "attack:pair:writer?attempts=3"
    arguments = ["crossplay", "--seeds", "words", "--judge", "words", "--games", "8"]
    report = report_of(capsys, [*arguments, "--attackers", spec, "--defenders", "weak", "no"])
    (found,) = report["attack_queries"]
    assert found["agent"] == spec
    assert found["target"] > 0
    rates = {x["defender"]: x["rates"]["attack_success"]["rate"] for x in report["result"]["cells"]}
    assert rates == {"weak": 1.0, "no": 0.0}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--attack", "pair"], "name one with --attacker"),
        (["--attack", "pair:writer", "--attacker", "writer"], "both name who writes"),
        (["--attack", "best_of_n", "--attacker", "writer"], "asks no model"),
        (["--attack", "pear"], "Did you mean"),
        (
            ["--attack", "crescendo:writer"],
            "needs 5 exchanges, but the game has 1; give --exchanges 5",
        ),
        (["--attack", "best_of_n?sigma=7"], "sigma is 7"),
        (["--attack", "best_of_n", "--attempts", "0"], "attempts is 0"),
    ],
)
def test_what_cannot_be_is_refused_before_a_file_is_written(suite, tmp_path, capsys, more, reason):
    for arguments in (on_suite(suite, *more), on_games(*more)):
        out = tmp_path / "out"
        assert main([*arguments, "--out", str(out)]) == 2
        assert reason in " ".join(capsys.readouterr().err.split())
        assert not out.exists() or not [x for x in out.iterdir() if not x.name.startswith(".")]


@pytest.mark.parametrize("more", [[], ["--judge", "seed_labels"]])
def test_an_attack_whose_messages_nobody_would_read_is_refused(suite, tmp_path, capsys, more):
    searched = ["--attack", "pair:writer", "--defender", "weak", *more]
    seated = ["crossplay", "--attackers", "attack:pair:writer", "--defenders", "weak", *more]
    out = ["--out", str(tmp_path / "out")]
    for words in (["evaluate", "--suite", suite, *searched], ["evaluate", *searched], seated):
        assert main([*words, *out]) == 2
        (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error")]
        assert "name another one with --judge" in line
        assert "--faithfulness embedding:minilm" in line


def test_a_longer_game_has_room_for_a_conversation(suite, capsys):
    more = ["--attack", "crescendo:writer?turns=2", "--exchanges", "2", "--attempts", "1"]
    report = report_of(capsys, on_suite(suite, *more))
    assert report["result"][0]["rows"][0]["figures"]["success"]["value"] == 1.0
    assert report["settings"]["exchanges"] == 2
