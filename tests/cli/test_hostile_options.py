"""Whatever stands behind an option, a command takes it or refuses it in words; nothing is written elsewhere."""

import io
import re
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from redteam_env.cli.main import main

OPTION = re.compile(r"([a-z]+) (--[a-z0-9-]+)( .*)? = ")
OPTIONS = [
    found.groups()
    for line in (Path(__file__).parent / "options.txt").read_text().splitlines()
    if (found := OPTION.match(line))
]
"""Command, option and what it takes, of every command that has options of its own."""
ENDS = {
    "bench": ["--algorithms", "nobody"],
    "crossplay": ["--attackers", "nobody", "--defenders", "nobody"],
    "evaluate": ["--attacker", "nobody", "--defender", "nobody"],
    "play": ["--attacker", "nobody", "--defender", "nobody"],
    "plan": ["--model", "nothing"],
    "quickstart": ["--steps", "-1"],
    "speed": ["--part", "nothing"],
    "train": ["--steps", "-1"],
    "worlds": ["pretrain", "nothing"],
}
"""What each command refuses, whatever else it is given, so that none begins to work."""
VALUES = st.one_of(
    st.sampled_from(
        [
            "",
            "-1",
            "0",
            "nan",
            "inf",
            "1e999",
            "9" * 5000,
            "None",
            "a,b,,",
            "NAME=",
            "=",
            "--",
            "../../x",
            "~nobody/x",
            "/dev/null",
            "http://[::1",
            "endpoint:http://a@b:1/?#",
            "\x1b[31mred\x1b[0m",
            "[bold]x[/nothing]",
            "\udcff",
            "\u202eabc",
            "a\nb",
            "{" * 300,
        ]
    ),
    st.text(max_size=20).filter(lambda x: "\0" not in x),  # no system passes it on
    st.integers().map(str),
    st.floats().map(str),
)


def ended(arguments):
    """Run a command; return its exit code and all that it says."""
    said = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with redirect_stdout(said), redirect_stderr(said):
        try:
            code = main(arguments)
        except SystemExit as stopped:  # the parser's own
            code = stopped.code
    said.seek(0)
    return code, said.read()


@given(st.sampled_from([x for x in OPTIONS if x[0] in ENDS]), VALUES)
@example(("train", "--lr", " FLOAT"), "nan")
@example(("evaluate", "--out", " STR"), "\udcff")
@settings(max_examples=60)
def test_an_option_with_any_value_is_taken_or_refused_in_words(tmp_path_factory, option, value):
    command, name, takes = option
    place = tmp_path_factory.mktemp("here")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        code, said = ended([command, *([name, value] if takes else [name]), *ENDS[command]])
    assert code == 2, said
    assert said.strip()
    assert "Traceback" not in said
    own = [line for line in said.splitlines() if line.startswith("error:")]  # not the parser's
    assert not any(re.search(r"[\x00-\x1f\x7f-\x9f\u202e]", line) for line in own), said
    assert not [x for x in place.rglob("*") if x.is_file()]
