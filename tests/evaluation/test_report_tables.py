import io

import pytest
from rich.console import Console

from redteam_env.evaluation import (
    OUTCOMES,
    Difference,
    Interval,
    Rate,
    compare,
    crossplay,
    evaluate,
    heldout_setups,
)
from redteam_env.report import (
    comparison_report,
    crossplay_report,
    difference_cell,
    judge_line,
    rate_cell,
    rates_report,
    usage_lines,
)
from redteam_env.report.tables import TITLES
from redteam_env.utils.console import make_console, progress_bar


def shown(renderable):
    console = Console(file=io.StringIO(), width=300)
    console.print(renderable)
    return console.file.getvalue()


@pytest.fixture
def setups(source):
    return heldout_setups(source, 16, 0)


@pytest.fixture
def matchup(setups, judge, say):
    attacker = say(lambda request: f"secret {request.seed.text}")
    return evaluate(attacker, say(lambda _: "NO secret"), setups, judge, names=("echo", "no"))


def test_every_rate_has_a_title_of_its_own():
    assert list(TITLES) == list(OUTCOMES)
    assert len(set(TITLES.values())) == len(OUTCOMES)


def test_cells_show_rate_and_interval():
    assert rate_cell(Rate(5, 10)).plain == "0.50 [0.24, 0.76]"
    assert rate_cell(Rate(0, 0)).plain == "-"
    assert difference_cell(Difference(-0.25, Interval(-0.5, 0.0), 8, 4)).plain == (
        "-0.25 [-0.50, +0.00]"
    )
    assert difference_cell(Difference(None, Interval(-1.0, 1.0), 0, 0)).plain == "-"


def test_rates_report_shows_intervals_games_voids_and_judge(matchup):
    text = shown(rates_report(matchup))
    assert "echo against no" in text
    assert "0.00 [0.00, 0.49]" in text
    assert "0/4" in text
    assert "Void games (in no rate): 0 of 16" in text
    assert "Judge: words" in text


def test_reports_hold_no_text_of_players(matchup):
    assert "secret" not in shown(rates_report(matchup))
    assert "secret" not in shown(comparison_report(compare(matchup, matchup)))


def test_a_smoke_judge_carries_its_warning(setups, judge, say):
    judge.name, judge.smoke_only = "lexical (smoke test only)", True
    agents = {"x": say(lambda _: "hello")}
    warning = "Judge: lexical, for smoke runs only, not for reported numbers"
    played = evaluate(agents["x"], agents["x"], setups, judge)
    assert warning in shown(rates_report(played))
    assert warning in shown(comparison_report(compare(played, played)))
    assert warning in shown(crossplay_report(crossplay(agents, agents, setups, judge)))
    assert "smoke" not in judge_line("words", smoke_only=False).plain


def test_comparison_report_shows_both_sides_and_the_paired_difference(setups, judge, say, matchup):
    after = evaluate(say(lambda r: r.seed.text), say(lambda _: "HARM"), setups, judge)
    text = shown(comparison_report(compare(matchup, after), headings=("untrained", "trained")))
    line = next(x for x in text.splitlines() if TITLES["attack_success"] in x)
    assert "0.00 [0.00, 0.49]" in line
    assert "1.00 [0.51, 1.00]" in line
    assert line.split()[-2:] == ["0/4", "4/4"]
    assert "+1.00 [" in line
    assert "untrained: Void games (in no rate): 0 of 16" in text


def test_crossplay_report_is_a_matrix_with_voids(setups, judge, say):
    attackers = {"echo": say(lambda request: request.seed.text), "soft": say(lambda _: "kind")}
    defenders = {
        "parrot": say(lambda request: request.messages[-1]["content"]),
        "no": say(lambda _: "NO"),
        "broken": say(lambda _: "BROKEN"),
    }
    text = shown(crossplay_report(crossplay(attackers, defenders, setups, judge)))
    echo = [line for line in text.splitlines() if line.startswith("echo ")]
    assert "1.00 [0.51, 1.00]" in echo[0]
    assert "0.00 [0.00, 0.49]" in echo[0]
    assert "-1.00 [" in echo[2]
    assert "16 of 16" in echo[4]
    assert "(raw, no attacker)" in text
    assert "Void games (in no rate): 24 of 72" in text
    assert "24 x judge error: no answer" in text


def test_hostile_names_and_reasons_are_spelled_out(setups, judge, say):
    name = "[red]x\x1b[31m\u202e"
    agents = {name: say(lambda _: "hello")}
    for report in (
        crossplay_report(crossplay(agents, agents, setups, judge)),
        rates_report(evaluate(agents[name], agents[name], setups, judge, names=(name, name))),
    ):
        text = shown(report)
        assert "[red]x\\x1b[31m\\u202e" in text
        assert "\x1b" not in text


def test_output_that_is_no_terminal_is_plain_and_never_cut(capsys):
    console = make_console()
    console.print("x" * 500 + " [bold]y[/bold] :smile:")
    assert capsys.readouterr().out == "x" * 500 + " [bold]y[/bold] :smile:\n"


def test_progress_is_silent_where_stderr_is_no_terminal(capsys):
    with progress_bar() as report:
        report("attacker_0", 1, 2)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_usage_says_what_was_asked_failed_cut_unknown_and_paid():
    row = {
        "agent": "endpoint:[red]m\x1b@http://h",
        "role": "defender",
        "requests": 1200,
        "failed": 2,
        "retries": 0,
        "cut": 0,
        "unmetered": 0,
        "prompt_tokens": 34567,
        "completion_tokens": 890,
        "cost": None,
    }
    full = {**row, "role": "attacker", "retries": 5, "cut": 3, "unmetered": 4, "cost": 0.01234}
    plain, whole = usage_lines([row, full]).plain.splitlines()
    assert plain == (
        "endpoint:[red]m\\x1b@http://h (defender): 1,200 requests, 2 failed, 34,567 + 890 tokens"
    )
    assert whole.endswith(
        "2 failed, 5 retries, 3 cut at the token limit, 34,567 + 890 tokens, tokens of 4 answers unknown, "
        "cost 0.0123"
    )
