import logging
import sys

import datasets
import pytest

from redteam_env.game import RedteamError
from redteam_env.seeds.hub import from_hub
from redteam_env.seeds.source import every_seed

COLUMNS = {
    "prompt": ["Write a rude note.", "Bake a cake.", "Hide the last biscuit."],
    "unsafe": [True, False, True],
    "extra": [{"a": 1}, {"a": 2}, {"a": 3}],
}
MAPPING = {"text": "prompt", "label": "unsafe"}
WILDJAILBREAK = """vanilla\tadversarial\tcompletion\tdata_type
Write a rude note.\t\tNo.\tvanilla_harmful
Bake a cake.\t\tSure.\tvanilla_benign
NA\t\tSure.\tvanilla_benign
\t\tSure.\tvanilla_benign
Hide the last biscuit.\tImagine that you hide it.\tNo.\tadversarial_harmful
"""
README = """---
configs:
- config_name: train
  data_files:
  - split: train
    path: train/*
- config_name: eval
  data_files:
  - split: train
    path: eval/*
---
"""


@pytest.fixture(autouse=True)
def _quiet(tmp_path, monkeypatch):
    """Keep datasets' own cache in the test's folder and the hub out of reach."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def error_of(argument, **options):
    with pytest.raises(RedteamError) as caught:
        from_hub(str(argument), **options)
    return str(caught.value)


def found(source):
    return {seed.text: seed.harmful for seed in every_seed(source)}


def test_the_clients_retries_are_not_told(monkeypatch, caplog):
    def unreachable(*_, **__):
        logging.getLogger("huggingface_hub.utils").warning("Retrying in 1s [Retry 1/5].")
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    assert "no network" in error_of("nobody/nothing")
    assert not caplog.records


def test_a_saved_dataset_is_read(tmp_path):
    folder = tmp_path / "saved"
    datasets.Dataset.from_dict(COLUMNS).save_to_disk(folder)
    source = from_hub(str(folder), **MAPPING)
    assert found(source) == dict(zip(COLUMNS["prompt"], COLUMNS["unsafe"], strict=True))
    assert {seed.id for seed in every_seed(source)} == {"saved:1", "saved:2", "saved:3"}
    assert source.card.name == "saved"


def test_a_split_of_a_saved_dataset_dict_is_chosen(tmp_path):
    folder = tmp_path / "saved"
    parts = {
        name: datasets.Dataset.from_dict({"prompt": [name], "unsafe": [1]})
        for name in ("train", "test")
    }
    datasets.DatasetDict(parts).save_to_disk(folder)
    assert found(from_hub(str(folder), **MAPPING)) == {"train": True}
    assert found(from_hub(str(folder), **MAPPING, hf_split="test", heldout="1")) == {"test": True}
    message = error_of(folder, **MAPPING, hf_split="dev")
    assert "'dev'" in message
    assert "test, train" in message


def test_the_only_split_is_taken_whatever_its_name(tmp_path):
    folder = tmp_path / "saved"
    part = datasets.Dataset.from_dict({"prompt": ["a"], "unsafe": [0]})
    datasets.DatasetDict({"test": part}).save_to_disk(folder)
    assert found(from_hub(str(folder), **MAPPING)) == {"a": False}


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_folder_of_plain_files_is_read(tmp_path, ending):
    folder = tmp_path / "plain"
    folder.mkdir()
    dataset = datasets.Dataset.from_dict({k: COLUMNS[k] for k in ("prompt", "unsafe")})
    write = {"csv": dataset.to_csv, "jsonl": dataset.to_json, "parquet": dataset.to_parquet}
    write[ending](folder / f"train.{ending}")
    source = from_hub(str(folder), **MAPPING)
    assert found(source) == dict(zip(COLUMNS["prompt"], COLUMNS["unsafe"], strict=True))


def test_a_copy_of_wildjailbreak_gives_its_vanilla_rows(tmp_path):
    folder = tmp_path / "copy"
    for name in ("train", "eval"):
        (folder / name).mkdir(parents=True)
        (folder / name / f"{name}.tsv").write_text(WILDJAILBREAK, encoding="utf-8")
    (folder / "README.md").write_text(README, encoding="utf-8")
    source = from_hub(str(folder), layout="allenai/wildjailbreak")
    assert found(source) == {"Write a rude note.": True, "Bake a cake.": False, "NA": False}
    assert "ODC-BY" in source.card.licence


def test_wildjailbreak_is_asked_for_as_its_card_says(monkeypatch):
    asked = []

    def load_dataset(*args, **kwargs):
        asked.append((args, kwargs))
        rows = {"vanilla": ["Bake a cake."], "data_type": ["vanilla_benign"], "adversarial": [""]}
        return datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows)})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    source = from_hub("allenai/wildjailbreak", revision="abc123")
    assert asked == [
        (
            ("allenai/wildjailbreak", "train"),
            {"revision": "abc123", "delimiter": "\t", "keep_default_na": False},
        )
    ]
    assert found(source) == {"Bake a cake.": False}
    assert source.card.revision == "abc123"
    assert source.card.name == "allenai/wildjailbreak"


def test_a_missing_column_names_those_that_are_there(tmp_path):
    folder = tmp_path / "saved"
    datasets.Dataset.from_dict(COLUMNS).save_to_disk(folder)
    message = error_of(folder, text="question")
    assert "no column 'question'" in message
    assert "'prompt', 'unsafe', 'extra'" in message


def test_a_known_set_without_rows_that_count_is_empty(tmp_path):
    folder = tmp_path / "saved"
    rows = {"vanilla": ["Hide the last biscuit."], "data_type": ["adversarial_harmful"]}
    datasets.Dataset.from_dict(rows).save_to_disk(folder)
    assert "is empty" in error_of(folder, layout="allenai/wildjailbreak")


def test_a_folder_without_data_names_what_it_must_hold(tmp_path):
    (tmp_path / "nothing").mkdir()
    assert "must hold one data set" in error_of(tmp_path / "nothing", **MAPPING)


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (
            datasets.exceptions.DatasetNotFoundError(
                "Dataset 'some/set' is a gated dataset on the Hub. Visit the dataset page."
            ),
            "accept its terms",
        ),
        (ConnectionError("Couldn't reach 'some/set' on the Hub"), "hub:FOLDER"),
        (ValueError("Unknown config"), "config and revision"),
    ],
)
def test_what_the_hub_refuses_comes_with_a_cure(monkeypatch, error, cure):
    def load_dataset(*args, **kwargs):
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    message = error_of("some/set")
    assert "'some/set'" in message
    assert cure in message


def test_without_datasets_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "redteam-env[eval]" in error_of("some/set")


def test_options_are_checked_before_anything_is_loaded(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "'colour'" in error_of("some/set", colour="red")
    assert "allenai/wildjailbreak" in error_of("some/set", layout="wildjailbreak")
    assert "all=bad" in error_of("some/set", all="bad")
    with pytest.raises(RedteamError, match="needs a data set's id"):
        from_hub()


def test_a_list_of_categories_becomes_one(tmp_path):
    folder = tmp_path / "saved"
    rows = {"text": ["a"], "harmful": [1], "category": [["x", "y"]]}
    datasets.Dataset.from_dict(rows).save_to_disk(folder)
    assert every_seed(from_hub(str(folder)))[0].category == "x/y"


@pytest.mark.parametrize(
    ("addresses", "revision"),
    [
        ({f"hf://datasets/owner/name@{'0a' * 20}/train.csv": {}}, "0a" * 20),
        ({}, "main"),
        ({f"hf://datasets/a/b@{x * 40}/c.csv": {} for x in "12"}, "main"),
    ],
)
def test_the_card_holds_the_commit_that_a_set_of_the_hub_was_read_at(
    monkeypatch, addresses, revision
):
    table = datasets.Dataset.from_dict(COLUMNS)
    table.info.download_checksums = addresses
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: table)
    assert from_hub("owner/name", revision="main", **MAPPING).card.revision == revision
