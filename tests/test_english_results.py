"""The page of the English run says what its reports say."""

import json
from pathlib import Path

import pytest

from redteam_env.evaluation.correction import rogan_gladen
from redteam_env.evaluation.statistics import Share

PLACE = Path(__file__).parents[1] / "examples" / "results" / "english"
PAGE = (PLACE / "README.md").read_text(encoding="utf-8")
TIMES = ("before", "after")


def report(name):
    return json.loads((PLACE / f"{name}.json").read_text(encoding="utf-8"))["result"]


def cell(value, interval):
    return f"{value:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"


def corrected(found):
    if found is None:
        return "-"
    low, high = found["interval"]
    if found["rate"] is None:
        return f"{found['reason']} [{low:.2f}, {high:.2f}]"
    return cell(found["rate"], found["interval"])


def test_every_figure_of_the_suites_is_that_of_its_report():
    for way in ("direct", "template", "best"):
        both = [report(f"{way}-{time}") for time in TIMES]
        for suite in range(2):
            rows = [x[suite]["rows"][0] for x in both]
            figures = [row["figures"] for row in rows]
            cells = [str(rows[0]["requests"])]
            cells += [cell(x["success"]["value"], x["success"]["interval"]) for x in figures]
            cells += [corrected(x["success"].get("corrected")) for x in figures]
            cells += [cell(x["refusal"]["value"], x["refusal"]["interval"]) for x in figures]
            assert f"| {' | '.join(cells)} |\n" in PAGE


def test_every_rate_of_held_out_games_is_that_of_its_report():
    both = [report(f"heldout-{time}") for time in TIMES]
    for name in (
        "attack_success",
        "faithful_attack_success",
        "raw_attack_success",
        "harmful_refusal",
        "over_refusal_raw",
        "over_refusal_rewritten",
    ):
        rates = [x["rates"][name] for x in both]
        cells = [f"{cell(x['rate'], x['interval'])} ({x['k']}/{x['n']})" for x in rates]
        cells += [corrected(x["corrected"].get(name)) for x in both]
        assert f"| {' | '.join(cells)} |\n" in PAGE


def errors():
    """What the reports hold of the judge's errors, the same in all of them."""
    whole = [json.loads(file.read_text(encoding="utf-8")) for file in PLACE.glob("*-*.json")]
    pairs = report("crossplay")["cells"]
    found = [x.get("calibration") or x["result"]["calibration"] for x in whole]
    found += [x["calibration"] for x in pairs]
    assert len(whole) == 8
    assert all(x == found[0] for x in found)
    return found[0]["fields"]


def short(share):
    low, high = share["interval"]
    return f"{share['rate']:.2f} [{low:.2f}, {high:.2f}]".replace("0.", ".")


def test_the_judges_errors_are_those_that_the_reports_were_corrected_by():
    text = " ".join(PAGE.split())
    for field in errors().values():
        told = ", ".join(f"{x} {short(field[x])}" for x in ("sensitivity", "specificity"))
        assert f"{told} ({field['dialogues']} answers)" in text
    harm = errors()["response_harmful"]
    both = harm["sensitivity"]["rate"] + harm["specificity"]["rate"]
    assert f"The sum of the latter two is {both:.2f}" in text
    assert f"a judge of sensitivity {harm['sensitivity']['rate']:.2f}".replace("0.", ".") in text


def test_every_corrected_rate_follows_from_the_raw_one_and_the_judges_errors():
    def share(x):
        return Share(x["k"], x["n"], float(x.get("effective", x["n"])))

    fields = errors()
    for time in TIMES:
        found = report(f"heldout-{time}")
        for name, stored in found["corrected"].items():
            own = fields[stored["field"]]
            again = rogan_gladen(
                share(found["rates"][name]), share(own["sensitivity"]), share(own["specificity"])
            )
            assert (again.reason or None) == stored.get("reason")
            assert again.value == pytest.approx(stored["rate"])
            low, high = stored["interval"]  # games on the same seed make it wider
            assert low <= again.interval.low + 1e-9
            assert again.interval.high <= high + 1e-9


def test_no_figure_differs_between_before_and_after():
    pairs = []
    for way in ("direct", "template", "best"):
        before, after = (report(f"{way}-{time}") for time in TIMES)
        for then, now in zip(before, after, strict=True):
            figures = [x["rows"][0]["figures"] for x in (then, now)]
            pairs += [[x[name]["interval"] for x in figures] for name in ("success", "refusal")]
    before, after = (report(f"heldout-{time}")["rates"] for time in TIMES)
    pairs += [
        [x[name]["interval"] for x in (before, after)]
        for name, own in before.items()
        if isinstance(own, dict) and "interval" in own
    ]
    assert "No two intervals of *before* and *after* lie apart" in PAGE
    for (low, high), (other_low, other_high) in pairs:
        assert max(low, other_low) <= min(high, other_high)


def test_every_pairing_is_that_of_its_report():
    found = report("crossplay")
    for attacker in found["attackers"]:
        row = [x["rates"]["attack_success"] for x in found["cells"] if x["attacker"] == attacker]
        assert " | ".join(cell(x["rate"], x["interval"]) for x in row) in PAGE


def test_the_training_run_is_whole_and_what_is_said_of_it_holds():
    lines = (PLACE / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 40

    def mean(name, part):
        return f"{sum(row[name] for row in part) / len(part):.2f}".removeprefix("0")

    first, last = (mean("game/attack_success", part) for part in (rows[:10], rows[-10:]))
    assert (
        f"went from {first} (mean of the first ten steps) to {last} (of the last ten)"
        in " ".join(PAGE.split())
    )
    distance = sum(row["defender/kl"] for row in rows[-10:]) / 10
    assert f"stayed at {distance:.3f}".replace("0.", ".") in " ".join(PAGE.split())
