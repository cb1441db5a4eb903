"""The leaderboard on a terminal of 80 columns: every number whole, every verdict that can be read."""

import pytest
from bench_fakes import reported
from rich.console import Console

from algorithms.studies.bench.terminal import MOST_VERDICTS, terminal

LONG = "reinforce_pp+fictitious"


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    return reported(tmp_path_factory.mktemp("bench"))[0]


def printed(figures, width=80):
    console = Console(width=width)
    with console.capture() as found:
        console.print(terminal(figures))
    return found.get()


def test_nothing_is_cut_at_80_columns(figures):
    cells = [
        {**x, "label": LONG if x["arrangement"] == "defender_only" else x["label"]}
        for x in figures["cells"]
    ]
    shown = printed({**figures, "cells": cells})
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert LONG in shown
    row = next(x for x in shown.splitlines() if x.strip().startswith("grpo, bipolicy"))
    assert row.split()[2:] == ["1.00", "[1.00,", "1.00]", "1.00", "1.00", "[1.00,", "1.00]", "1.00"]


def test_pairs_that_are_told_apart_come_first(figures):
    shown = " ".join(printed(figures).split())
    assert "defence: 4 of 6 pairs of cells are told apart." in shown
    assert shown.index("is worse than") < shown.index("are not told apart")


def test_many_pairs_are_left_to_the_page(figures):
    pair = {**figures["verdicts"]["attack"][0], "verdict": "not told apart", "seeds_needed": 9}
    many = {"defence": [pair] * 66, "attack": []}
    shown = " ".join(printed({**figures, "verdicts": many}).split())
    assert shown.count("needs about 9 seeds") == MOST_VERDICTS - 1  # beside how many there are
    assert "57 more pairs are in the page leaderboard.md" in shown


def test_a_cell_that_cannot_be_run_is_named_with_its_reason(figures):
    cells = [
        *figures["cells"],
        {**figures["cells"][0], "label": "one_seat", "reason": "of one seat"},
    ]
    shown = " ".join(printed({**figures, "cells": cells}).split())
    assert "one_seat, bipolicy cannot be run: of one seat." in shown


def test_names_cannot_drive_the_terminal(figures):
    cells = [{**x, "label": "a\x1b[31m"} for x in figures["cells"]]
    assert "\x1b[31m" not in printed({**figures, "cells": cells})
