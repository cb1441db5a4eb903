"""A run goes on with what it was begun with, or not at all; what it was begun with stays on record."""

import json
import shutil

import pytest

from algorithms.training.trainer import train
from redteam_env import provenance
from redteam_env.game import RedteamError, load_prompts
from redteam_env.runs import CONFIG, Run

SEEDS = "text,harmful\n" + "".join(
    f"{word} {k},{harmful}\n" for k in range(8) for word, harmful in (("good", 0), ("bad", 1))
)


@pytest.fixture
def begun(tiny_config, prompts, tmp_path):
    """A run of one step with files of its own behind it; returns a function that goes on with it."""
    (tmp_path / "seeds.csv").write_text(SEEDS)
    texts = shutil.copytree(prompts, tmp_path / "prompts")
    (tmp_path / "sft.jsonl").write_text(json.dumps({"prompt": "what", "response": "no"}) + "\n")
    options = {
        "seeds": f"{tmp_path / 'seeds.csv'}?heldout=0.5",
        "prompts": str(texts),
        "sft_file": str(tmp_path / "sft.jsonl"),
    }
    train(tiny_config(**options, steps=1))
    load_prompts.cache_clear()  # as in another process
    return lambda: train(tiny_config(**options, steps=2, resume=True))


def append(file, text):
    file.write_text(file.read_text() + text)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda d: append(d / "seeds.csv", "worse 9,1\n"),
            r"seeds\.sha256: '\w+' there, '\w+' now",
        ),
        (lambda d: append(d / "prompts" / "defender.txt", "x"), r"prompts\.digest: '\w+' there"),
        (lambda d: append(d / "sft.jsonl", "\n"), r"files\.sft_file: '\w+' there, '\w+' now"),
    ],
    ids=["seeds", "instructions", "examples"],
)
def test_case_34_what_changed_under_a_run_is_named_and_the_run_left_as_it_was(
    begun, tmp_path, change, says
):
    change(tmp_path)
    before = (tmp_path / "run" / CONFIG).read_text()
    with pytest.raises(RedteamError, match=rf"'.*run' was begun with something else \(.*{says}"):
        begun()
    assert (tmp_path / "run" / CONFIG).read_text() == before
    assert len(Run(tmp_path / "run").rows()) == 1


def test_what_a_run_was_begun_with_stays_and_other_versions_are_warned_of(
    begun, tmp_path, monkeypatch
):
    first = Run(tmp_path / "run").record()
    versions = {**first["versions"], "torch": "9.9"}
    del versions["python"]
    monkeypatch.setattr(provenance, "versions", lambda _: versions)
    with pytest.warns(
        UserWarning, match=r"'.*run' goes on with other versions \(torch .* then, 9\.9 now"
    ):
        begun()
    record = Run(tmp_path / "run").record()
    assert {k: v for k, v in record.items() if k not in {"config", "sessions", "seal"}} == {
        k: v for k, v in first.items() if k not in {"config", "seal"}
    }
    assert record["config"]["steps"] == 2
    assert [x["versions"]["torch"] for x in record["sessions"]] == ["9.9"]
