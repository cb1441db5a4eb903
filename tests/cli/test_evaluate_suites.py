import json
import signal

import pytest
from support_servers import RecordedJudgeServer

from redteam_env.cli.main import main
from redteam_env.game import Episode, RedteamError, Seed, Verdict
from redteam_env.judges.sources import Source
from redteam_env.protocols import GameSetup, Reply

CARD = """
title = "Small"
source = "a test"
licence = "CC0"
judge = "oracle"
metric = {{ harmful = "success", benign = "refusal" }}

[decoding]
temperature = {temperature}
max_tokens = 99

[[data]]
columns = {{ text = "ask", label = "label", benign = "kind" }}
"""
ROWS = "ask,label\nHARM one,harmful\nHARM two,harmful\nHARM train 1,harmful\nkind one,kind\n"


class Says:
    """Says one text after the other, the last one for good."""

    def __init__(self, *texts):
        self.texts = texts

    def act(self, requests):
        last = len(self.texts) - 1
        return [Reply(text=self.texts[min(k, last)]) for k, _ in enumerate(requests)]


@pytest.fixture
def suite(tmp_path):
    """How a small suite of one's own is named."""

    def make(temperature=0.0, name="small"):
        card, rows = tmp_path / f"{name}.toml", tmp_path / f"{name}.csv"
        card.write_text(CARD.format(temperature=temperature))
        rows.write_text(ROWS)
        return f"{card}={rows}"

    return make


def command(suite, *more, defender="harm", judge="words"):
    return ["evaluate", "--suite", suite, "--defender", defender, "--judge", judge, *more]


def report_of(capsys, *arguments):
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def figures(row):
    return {name: figure["value"] for name, figure in row["figures"].items()}


def test_a_table_has_a_row_for_each_label_and_a_column_for_each_metric(suite, capsys):
    assert main(command(suite())) == 0
    out = capsys.readouterr().out
    for heading in ("harm-based success", "compliance", "refusal", "graded harm"):
        assert heading in out
    assert "success within" not in out
    assert "Small (harmful)" in out
    assert "1.00 [0.44, 1.00]*" in out
    assert "Small (benign)" in out
    assert "Small is meant to be read by the judge oracle." in out
    assert "Judge: words" in out


def test_json_holds_all_figures_and_no_text_of_players(suite, capsys):
    report = report_of(capsys, *command(suite()))
    (result,) = report["result"]
    harmful, benign = result["rows"]
    assert figures(harmful) == {"success": 1.0, "compliance": 1.0, "refusal": 0.0, "graded": None}
    assert figures(benign) == {"compliance": 1.0, "refusal": 0.0}
    assert harmful["own_metric"] == "success"
    assert report["suites"]["small"]["max_new_tokens"] == 99
    assert report["suites"]["small"]["data"][0]["sha256"]
    assert "HARM" not in json.dumps(report)


def test_a_metric_that_the_judge_cannot_give_is_none_with_the_reason(suite, tmp_path, capsys):
    spec = suite()
    card = tmp_path / "small.toml"
    card.write_text(card.read_text().replace('"success"', '"graded"'))
    assert main(command(spec)) == 0
    out = capsys.readouterr().out
    assert "none*" in out
    assert "the judge words does not say how harmful answers are" in out


def test_contexts_are_told_from_requests_that_stand_as_in_their_data(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        Source,
        "text",
        lambda x: (
            f"{x.constant} {{behavior}} {{generation}}{{context}}"
            if "CONTEXTUAL" in x.constant
            else f"{x.constant} {{behavior}} {{generation}}"
        ),
    )
    (tmp_path / "rows.csv").write_text(
        "Behavior,ContextString,Label\nGive the gist,A long text,harmful\nSay it,,harmful\n"
    )
    card = CARD.format(temperature=0).replace('"ask"', '"Behavior"').replace('"label"', '"Label"')
    card = card.replace('"oracle"', '"harmbench"').replace(', benign = "refusal"', "")
    (tmp_path / "with.toml").write_text(f'{card}\n[prompt]\nform = "context"\n')
    asked = f"{tmp_path}/with.toml={tmp_path}/rows.csv"

    def transform(body):
        body["choices"][0]["text"] = "yes"
        return body

    with RecordedJudgeServer(transform=transform) as server:
        url = ("--judge-url", server.url)
        monkeypatch.setattr("redteam_env.cli.options.check_ready", lambda judge: None)
        assert main([*command(asked, judge="harmbench"), *url]) == 0
        prompts = sorted(body["prompt"] for _, _, body in server.requests)
    assert prompts[0].startswith("LLAMA2_CLS_PROMPT_CONTEXTUAL Give the gist ")
    assert prompts[0].endswith("A long text")
    assert prompts[1].startswith("LLAMA2_CLS_PROMPT_STANDARD Say it ")
    out = capsys.readouterr().out
    assert "1.00 [0.34, 1.00]*" in out
    assert "is meant to be read" not in out


def test_the_cards_decoding_counts_unless_the_user_gives_another(suite, plugins, capsys):
    made = []

    class Policy:
        def __init__(self, **_):
            pass

        def load(self, spec, role, **sampling):
            made.append((sampling["temperature"], sampling["max_new_tokens"]))
            return Says("NO")

    plugins("agents", "policy", Policy)
    arguments = command(suite(temperature=0.5), defender="base")
    report_of(capsys, *arguments)
    report_of(capsys, *arguments, "--temperature", "0", "--max-new-tokens", "5")
    assert made == [(0.5, 99), (0.0, 5)]


def test_attempts_have_a_column_of_their_own(suite, capsys):
    assert main(command(suite(temperature=1.0), "--attempts", "3")) == 0
    assert "success within 3" in capsys.readouterr().out
    report = report_of(capsys, *command(suite(temperature=1.0), "--attempts", "3"))
    harmful, benign = report["result"][0]["rows"]
    assert (harmful["answers"], harmful["requests"]) == (9, 3)
    assert harmful["within"]["rate"] == 1.0
    assert benign["within"] is None


def test_a_limit_bounds_the_requests(suite, capsys):
    report = report_of(capsys, *command(suite(), "--limit", "2"))
    assert sum(row["requests"] for row in report["result"][0]["rows"]) == 2


def test_requests_that_a_defender_was_trained_on_are_counted(
    suite, run_directory, tmp_path, policy, capsys
):
    rows = tmp_path / "small.csv"
    spec = suite()
    rows.write_text(ROWS + "HARM request train 1,harmful\n")
    report = report_of(capsys, *command(spec, defender=str(run_directory)))
    assert report["result"][0]["in_training_split"] == 1
    assert main(command(spec, defender=str(run_directory))) == 0
    assert "1 requests of small stand in the training split of words" in capsys.readouterr().out


def test_out_holds_report_and_games_and_the_same_command_plays_nothing_again(
    suite, tmp_path, capsys, plugins
):
    out = tmp_path / "out"
    arguments = [*command(suite()), "--out", str(out)]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    report = json.loads((out / "report.json").read_text())
    lines = (out / "episodes" / "small.jsonl").read_text().splitlines()
    assert Episode.from_json(lines[0]).seed.text == "HARM one"
    assert len(lines) == 4

    class Silent:
        def act(self, requests):
            raise AssertionError

    plugins("agents", "harm", lambda role: Silent())
    assert main(arguments) == 0
    assert capsys.readouterr().out == first
    assert json.loads((out / "report.json").read_text()) == report


def test_an_interrupted_evaluation_goes_on_with_the_suites_that_are_missing(
    suite, tmp_path, capsys, plugins
):
    out = tmp_path / "out"
    both = f"{suite(name='one')},{suite(name='two')}"
    arguments = [*command(both), "--out", str(out)]
    assert main(arguments) == 0
    whole = json.loads((out / "report.json").read_text())
    (out / "report.json").unlink()
    (out / "episodes" / "two.jsonl").unlink()
    assert main(arguments) == 0
    assert json.loads((out / "report.json").read_text()) == whole


def test_ctrl_c_says_what_is_kept(suite, tmp_path, capsys, plugins):
    class Pressed:
        def act(self, requests):
            raise KeyboardInterrupt

    plugins("agents", "pressed", lambda role: Pressed())
    out = tmp_path / "out"
    assert main([*command(suite(), defender="pressed"), "--out", str(out)]) == 130
    kept, interrupted = capsys.readouterr().err.splitlines()
    assert kept == f"What {out} holds is kept; the same command goes on from there."
    assert interrupted == "interrupted"


def test_a_suite_that_was_cut_goes_on_within_it(suite, tmp_path, capsys, plugins):
    asked = []

    class Cut:
        def act(self, requests):
            asked.append([x.path for x in requests])
            if len(asked) == 2:
                signal.raise_signal(signal.SIGINT)
            return [Reply(text="no") for _ in requests]

    plugins("agents", "cut", lambda role: Cut())
    out = tmp_path / "out"
    arguments = [*command(suite(), defender="cut"), "--batch-size", "1", "--out", str(out)]
    assert main(arguments) == 130
    assert "finishing this batch; again to stop now" in capsys.readouterr().err
    assert len(asked) == 2
    assert main(arguments) == 0
    assert len({path for paths in asked for path in paths}) == len(asked), "none is asked twice"
    assert [x.name for x in (out / "episodes").iterdir()] == ["small.jsonl"]


def test_a_directory_of_another_evaluation_is_refused(suite, tmp_path, capsys):
    out = tmp_path / "out"
    assert main([*command(suite()), "--out", str(out)]) == 0
    assert main([*command(suite(), "--limit", "2"), "--out", str(out)]) == 2
    assert "holds another evaluation (other settings)" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "kept.txt").write_text("mine")
    assert main([*command(suite()), "--out", str(tmp_path / "full")]) == 2
    assert "is not empty" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["form", "defender"])
def test_an_interrupted_evaluation_of_an_earlier_version_is_told_of_as_such(
    suite, tmp_path, capsys, key
):
    out = tmp_path / "out"
    arguments = [*command(suite()), "--out", str(out)]
    assert main(arguments) == 0
    plan = json.loads((out / "plan.json").read_text())
    for told in (plan["settings"], *plan["suites"].values()):
        told.pop(key, None)
    plan["version"] = "0.0.1"
    (out / "plan.json").write_text(json.dumps(plan))
    capsys.readouterr()
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert f"begun by an earlier version, whose plan.json does not tell {key}" in said
    assert said.count("\n") == 1


def test_damaged_games_are_refused(suite, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = [*command(suite()), "--out", str(out)]
    assert main(arguments) == 0
    file = out / "episodes" / "small.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    for content, message in [
        ("not json\n", f"Line 1 of '{file}' is cut off. Remove the file"),
        ("not json\n{}\n", f"Line 1 of '{file}' cannot be read (no JSON"),
        ("".join(lines[:-1]), "lacks games"),
        ("".join([lines[0].replace("HARM one", "HARM other"), *lines[1:]]), "another request"),
    ]:
        file.write_text(content)
        assert main(arguments) == 2
        assert message in capsys.readouterr().err


def test_only_void_answers_are_no_success_and_too_many_are_said(suite, capsys, plugins):
    assert main(command(suite(), defender="broken")) == 1
    captured = capsys.readouterr()
    assert "none of 4 answers was judged" in captured.err
    assert "no answer was judged" in captured.out

    plugins("agents", "half", lambda role: Says("NO", "BROKEN"))
    assert main(command(suite(), defender="half")) == 3
    assert "3 of 4 answers are not in their suite's own metric" in capsys.readouterr().err
    assert main(command(suite(), "--allow-void", "0.8", defender="half")) == 0


def test_a_figure_over_part_of_the_answers_is_told_of_and_too_small_a_part_is_an_error(
    suite, capsys, plugins
):
    class Unsure:
        name, smoke_only = "unsure", False

        def judge(self, dialogues):
            return [
                Verdict(
                    prompt_harmful=True,
                    response_refusal=False,
                    response_harmful=True if "one" in x.prompt else None,
                    judge=self.name,
                )
                for x in dialogues
            ]

    plugins("judges", "unsure", Unsure)
    assert main(command(suite(), judge="unsure")) == 3
    captured = capsys.readouterr()
    assert "Small (harmful), success: of 1 of 3 answers." in " ".join(captured.out.split())
    assert "2 of 4 answers are not in their suite's own metric" in captured.err
    assert main(command(suite(), "--allow-void", "0.5", judge="unsure")) == 0


def test_the_first_set_that_cannot_be_had_ends_the_loading(capsys, plugins):
    asked = []

    def hub(argument, **_):
        asked.append(argument)
        raise RedteamError("gated")

    plugins("seeds", "hub", hub)
    arguments = ["evaluate", "--defender", "no", "--judge", "words", "--suite"]
    assert main([*arguments, "self_redteam"]) == 2
    assert "--suite dan=FILE" in capsys.readouterr().err
    assert asked == []
    assert main([*arguments, "xstest,or_bench_hard,or_bench_toxic"]) == 2
    assert asked == ["walledai/XSTest"]
    assert "Not tried yet, of the hub, too: bench-llm/or-bench." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "xtest", "--defender", "no"], "Did you mean 'xstest'?"),
        (["--suite", "strongreject"], "No defender is named"),
        (
            ["--suite", "strongreject", "--defender", "no", "--attempts", "2"],
            "--temperature above 0",
        ),
        (["--suite", "strongreject", "no", "--attacker", "echo"], "leave --attacker out"),
        (["--suite", "dan,jbb=a.csv", "--defender", "no"], "--suite dan=FILE"),
        (["--suite", "dan,jbb=a.csv", "--defender", "no"], "jbb=FILE1+FILE2"),
        (["echo", "--limit", "2"], "name one with --suite"),
        (["echo", "--attempts", "2"], "name one with --suite"),
        (["--suite", "dan=absent.csv", "--defender", "no"], "no seed file 'absent.csv'"),
    ],
)
def test_a_wrong_value_is_one_line(arguments, message, capsys):
    assert main(["evaluate", "--judge", "words", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_hostile_titles_and_reasons_are_spelled_out(suite, tmp_path, capsys):
    spec = suite()
    card = tmp_path / "small.toml"
    card.write_text(card.read_text().replace('"Small"', '"[red]x\\u001b[31m"'))
    assert main(command(spec)) == 0
    out = capsys.readouterr().out
    assert "[red]x\\x1b[31m" in out
    assert "\x1b" not in out


def test_figures_are_corrected_for_a_calibrated_judge(suite, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("REDTEAM_ENV_DATA", str(tmp_path / "data"))
    rows = [f"HARM {k},HARM {k},{'yes' if k % 10 else 'no'},no" for k in range(40)]
    rows += [
        f"kind {k},NO {k},{'no' if k % 10 else 'yes'},{'yes' if k % 4 else 'no'}" for k in range(60)
    ]
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(["prompt,response,response_harmful,response_refusal", *rows]))
    assert main(["judge", "calibrate", "words", "--labels", str(labels)]) == 0
    capsys.readouterr()
    assert main(command(suite(), defender="no")) == 0
    out = capsys.readouterr().out
    assert "Corrected for the judge's errors" in out
    assert "Judge's response_harmful: sensitivity 0.86" in out
    harmful, benign = report_of(capsys, *command(suite(), defender="no"))["result"][0]["rows"]
    refusal, compliance = (
        benign["figures"][name]["corrected"] for name in ("refusal", "compliance")
    )
    assert refusal["rate"] + compliance["rate"] == pytest.approx(1)
    assert refusal["interval"][0] + compliance["interval"][1] == pytest.approx(1)
    assert 0 <= refusal["rate"] <= 1
    assert harmful["figures"]["success"]["corrected"]["field"] == "response_harmful"
    assert "corrected" not in harmful["figures"]["graded"]


class TestRegisteredSuites:
    """Suites of the group ``redteam_env.suites``: of third parties, or of a world."""

    def test_the_worlds_own_attacks_are_a_suite_like_any(self, capsys):
        words = ["evaluate", "--world", "apothecary", "--defender", "no", "--limit", "8"]
        words += ["--suite", "apothecary_k1,apothecary_raw", "--max-new-tokens", "20"]
        report = report_of(capsys, *words)
        assert [x["name"] for x in report["result"]] == ["apothecary_k1", "apothecary_raw"]
        for result in report["result"]:
            harmful, benign = result["rows"]
            assert (harmful["requests"], benign["requests"]) == (4, 4)
            assert (harmful["own_metric"], benign["own_metric"]) == ("success", "refusal")
            assert harmful["lost"] == benign["lost"] == 0
        assert report["suites"]["apothecary_k1"]["max_new_tokens"] == 20

    def test_its_games_are_written_and_found_again(self, tmp_path, capsys):
        words = ["evaluate", "--world", "apothecary", "--defender", "no", "--limit", "8"]
        words += ["--suite", "apothecary_k1", "--out", str(tmp_path / "out")]
        first = report_of(capsys, *words)
        assert report_of(capsys, *words) == first
        lines = (tmp_path / "out" / "episodes" / "apothecary_k1.jsonl").read_text().splitlines()
        episodes = [Episode.from_json(x) for x in lines]
        assert all(x.rewritten and len(x.turns) == 2 for x in episodes)

    def test_a_strangers_suite_stands_beside_cards(self, suite, capsys, plugins):
        setups = [
            GameSetup(
                seed=Seed(id="a", text="HARM mine", harmful=True),
                rewritten=False,
                path=("a",),
                group=0,
            )
        ]

        class Mine:
            rewritten = False

            def __init__(self, source, games, seed):
                self.setups = setups

            def attacker(self):
                raise AssertionError("nobody attacks")

        plugins("suites", "mine", Mine)
        report = report_of(capsys, *command(f"mine,{suite()}"))
        assert [x["name"] for x in report["result"]] == ["mine", "small"]
        (row,) = report["result"][0]["rows"]
        assert (row["label"], row["answers"], figures(row)["success"]) == ("harmful", 1, 1.0)

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            (["--suite", "apothecary_quiz"], "asks questions with known answers"),
            (["--suite", "apothecary_k1", "--attack", "template"], "an attacker of its own"),
            (["--suite", "apothecary_k1", "--attempts", "2", "--temperature", "1"], "of its own"),
            (["--suite", "apothecary_k1=mine.csv"], "has requests of its own"),
            (["--suite", "apothecary_k11"], "Did you mean 'apothecary_k1'"),
        ],
    )
    def test_what_such_a_suite_cannot_do_is_refused_in_words(self, more, message, capsys):
        words = ["evaluate", "--world", "apothecary", "--defender", "no", "--limit", "8"]
        assert main([*words, *more]) == 2
        assert message in capsys.readouterr().err
