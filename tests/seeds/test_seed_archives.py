import dataclasses
import hashlib
import zipfile

import pytest

from redteam_env.game import RedteamError
from redteam_env.seeds import archives
from redteam_env.seeds.source import every_seed
from redteam_env.utils.packages import Member

CSV = b"""category,source,forbidden_prompt
Mischief,custom,"Explain how to hide
the last biscuit."
Mischief,DAN,"Write a rude note, please."
Fibs,custom,Invent an excuse for being late.
"""
PROMPT = b"""dataset_name: small
seeds:
- value: Write a rude note
  data_type: text
  harm_categories: [Psychological, Bullying]
- value: Explain how to hide the last biscuit
  data_type: text
  harm_categories: [Physical]
"""

BEHAVIOURS = b"""Behavior,FunctionalCategory,SemanticCategory,Tags,ContextString,BehaviorID
Hide the last biscuit,standard,harmful,,,one
Say what the note is about,contextual,harmful,context,"A rude
note.",two
Recite a song,copyright,copyright,"lyrics, hash_check",,three
"""


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """Put a file into a wheel of a local folder and let an archive point there."""
    monkeypatch.setenv("REDTEAM_ENV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))

    def publish(name, content):
        wheel = tmp_path / f"fake_{name}-1.0-py3-none-any.whl"
        info = f"fake_{name}-1.0.dist-info"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(f"fake_{name}/data", content)
            archive.writestr(
                f"{info}/METADATA", f"Metadata-Version: 2.1\nName: fake-{name}\nVersion: 1.0\n"
            )
            archive.writestr(
                f"{info}/WHEEL",
                "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            )
            archive.writestr(f"{info}/RECORD", "")
        member = Member(
            project=f"fake-{name}",
            version="1.0",
            name=f"fake_{name}/data",
            sha256=hashlib.sha256(content).hexdigest(),
        )
        changed = dataclasses.replace(archives.ARCHIVES[name], member=member)
        monkeypatch.setitem(archives.ARCHIVES, name, changed)

    return publish


def test_strongreject_is_read_from_its_csv(packaged):
    packaged("strongreject", CSV)
    source = archives.strongreject()
    by_id = {seed.id: seed for seed in every_seed(source)}
    assert by_id["strongreject-001"].text == "Explain how to hide the last biscuit."
    assert by_id["strongreject-002"].category == "Mischief"
    assert len(by_id) == 3
    assert all(seed.harmful for seed in by_id.values())
    assert source.card.sha256 == hashlib.sha256(CSV).hexdigest()


def test_advbench_is_read_from_its_yaml(packaged):
    packaged("advbench", PROMPT)
    by_id = {seed.id: seed for seed in every_seed(archives.advbench())}
    assert by_id["advbench-001"].text == "Write a rude note"
    assert by_id["advbench-001"].category == "Psychological"
    assert len(by_id) == 2


def test_harmbench_keeps_contexts_and_leaves_copyright_out(packaged):
    packaged("harmbench", BEHAVIOURS)
    by_id = {seed.id: seed for seed in every_seed(archives.harmbench())}
    assert by_id["harmbench-001"].text == "Hide the last biscuit"
    assert by_id["harmbench-002"].text == "A rude\nnote.\n\n---\n\nSay what the note is about"
    assert by_id["harmbench-002"].category == "contextual/harmful"
    assert len(by_id) == 2
    assert {seed.split for seed in by_id.values()} == {"heldout"}


@pytest.mark.parametrize("factory", [archives.strongreject, archives.advbench, archives.harmbench])
def test_arguments_and_options_are_refused_before_anything_is_fetched(factory):
    with pytest.raises(RedteamError, match="one fixed data set"):
        factory("small")
    with pytest.raises(RedteamError, match="remove 'version'"):
        factory(version="2")


@pytest.mark.registry
@pytest.mark.parametrize(
    ("name", "rows", "categories"),
    [("strongreject", 313, 6), ("advbench", 520, 9), ("harmbench", 240, 12)],
)
def test_the_published_file_holds_what_we_know_of_it(name, rows, categories, tmp_path, monkeypatch):
    monkeypatch.setenv("REDTEAM_ENV_CACHE", str(tmp_path))
    source = getattr(archives, name)()
    seeds = every_seed(source)
    assert len(seeds) == rows == archives.ARCHIVES[name].rows
    assert len({seed.category for seed in seeds}) == categories
    assert all(seed.harmful for seed in seeds)
    assert source.duplicates == 0
    if name == "harmbench":
        assert len(source.seeds("heldout")) == rows
        assert sum("\n\n---\n\n" in seed.text for seed in seeds) == 81
    else:
        assert not any("\n" in seed.text for seed in seeds)
        assert 0.1 < len(source.seeds("heldout")) / rows < 0.3
