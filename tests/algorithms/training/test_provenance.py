"""A run goes on with what it was begun with, or not at all; what it was begun with stays on record."""

import json
import shutil
from dataclasses import dataclass

import pytest
from training_fakes import WordJudge

from algorithms.training.trainer import train
from redteam_env import provenance, registry
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


@dataclass(frozen=True)
class Template:
    """A judge's template, of which only the text is recorded."""

    text: str


def test_a_judge_that_says_another_revision_or_prompt_is_another_judge(tiny_config, tmp_path):
    for field, value in (("revision", "2"), ("template_sha256", "b" * 64)):
        judge = WordJudge()
        judge.revision, judge.template_sha256 = "1", "a" * 64
        registry.register("judges", "words", lambda judge=judge: judge, replace=True)
        train(tiny_config(steps=1, out=str(tmp_path / field)))
        setattr(judge, field, value)
        name = "template" if field == "template_sha256" else field
        with pytest.raises(RedteamError, match=rf"judge\.{name}: "):
            train(tiny_config(steps=2, resume=True, out=str(tmp_path / field)))


def test_a_judge_with_another_template_is_another_judge(tiny_config, tmp_path):
    for text, steps in (("one", 1), ("two", 2)):
        judge = WordJudge()
        judge.template = Template(text)
        registry.register("judges", "words", lambda judge=judge: judge)
        config = tiny_config(steps=steps, resume=steps == 2)
        if steps == 1:
            train(config)
    with pytest.raises(RedteamError, match=r"judge\.template: '\w+' there, '\w+' now"):
        train(config)


def test_every_seed_counts_and_not_the_first_source_alone(tiny_config, tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text(SEEDS.replace("good", name).replace("bad", name * 2))
    seeds = ",".join(f"{tmp_path}/{name}.csv?heldout=0.5" for name in ("a", "b"))
    train(tiny_config(seeds=seeds, steps=1))
    append(tmp_path / "b.csv", "worse 9,1\n")
    with pytest.raises(RedteamError, match=r"seeds\.digest: '\w+' there, '\w+' now"):
        train(tiny_config(seeds=seeds, steps=2, resume=True))


def test_a_plug_in_whose_source_changed_is_another_though_its_version_is_not(
    tiny_config, tmp_path, installed
):
    code = "from training_fakes import WordJudge as judge\n"
    installed(code, "[redteam_env.judges]\nimported = dummy_plugins:judge\n")
    train(tiny_config(judge="imported", steps=1))
    assert Run(tmp_path / "run").record()["versions"]["dummy-plugins"] == "1.2"
    append(tmp_path / "dummy_plugins.py", "# changed\n")
    with pytest.raises(RedteamError, match=r"plugins\.judges/imported: '\w+' there, '\w+' now"):
        train(tiny_config(judge="imported", steps=2, resume=True))
