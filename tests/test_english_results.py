"""The page of the English run says what its reports say."""

import json
from pathlib import Path

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
    for name in ("attack_success", "harmful_refusal", "over_refusal_raw"):
        rates = [x["rates"][name] for x in both]
        cells = [f"{cell(x['rate'], x['interval'])} ({x['k']}/{x['n']})" for x in rates]
        cells += [corrected(x["corrected"].get(name)) for x in both]
        assert f"| {' | '.join(cells)} |\n" in PAGE


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
