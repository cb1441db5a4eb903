"""The run directory: what is written is found again, and what is damaged is named."""

import json

import pytest

from redteam_env.game import RedteamError
from redteam_env.runs import (
    AGENT,
    Run,
    find_run,
    find_saved,
    newest,
    read_league,
    write_card,
    write_league,
)

FILES = ["policy/weights.txt", "state.json"]


@pytest.fixture
def run(tmp_path):
    """A run with a configuration and no checkpoint yet."""
    (tmp_path / "run").mkdir()
    config = {"schema": 1, "config": {"model": "m", "seed": 3}, "policy": {}}
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    return Run(tmp_path / "run")


def write(run, step=3, **files):
    with run.new_checkpoint(step) as folder:
        (folder / "policy").mkdir()
        for name in FILES:
            (folder / name).write_text(files.get(name, "content"))
    return run.at(step).path


def agent_in(run, step=3):
    with run.new_checkpoint(step) as folder:
        (folder / "policy").mkdir()
        others = {"defender": "base"}
        more = {"layers": 2}
        write_card(folder / "policy", agent="net", role="attacker", others=others, more=more)
    return run.at(step).policy


def test_a_checkpoint_is_found_with_its_files(run):
    path = write(run)
    assert path.name == "step-000003"
    found = run.latest()
    assert (found.step, found.path, found.policy) == (3, path, path / "policy")


def test_the_manifest_covers_every_other_file(run):
    manifest = json.loads((write(run) / "manifest.json").read_text())
    assert sorted(manifest["files"]) == sorted(FILES)
    assert manifest["step"] == 3


@pytest.mark.parametrize("name", FILES)
def test_an_altered_file_is_an_error_that_names_it_and_the_cure(run, name):
    path = write(run)
    (path / name).write_text("CONTENT")
    with pytest.raises(RedteamError, match=rf"{path / name}.*altered.*remove"):
        run.latest()


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_an_error_that_names_it_and_the_cure(run, name):
    path = write(run)
    (path / name).unlink()
    with pytest.raises(RedteamError, match=rf"lacks.*{path / name}.*remove"):
        run.at(3)


@pytest.mark.parametrize(
    "content", [None, "", "no json", "[]", "{}", '{"files": 3}', '{"schema": 1, "files": [1]}']
)
def test_a_missing_or_garbled_manifest_is_an_error_that_names_it(run, content):
    manifest = write(run) / "manifest.json"
    if content is None:
        manifest.unlink()
    else:
        manifest.write_text(content)
    with pytest.raises(RedteamError, match=rf"{manifest}.*[Rr]emove"):
        run.latest()


def test_the_newest_one_counts_by_number(run):
    for step in (2, 10, 9, 1_000_000):
        write(run, step)
    assert [x.step for x in run.checkpoints()] == [2, 9, 10, 1_000_000]
    assert run.latest().step == 1_000_000
    assert newest(run.path).name == "step-1000000"


def test_a_checkpoint_under_another_ones_name_is_refused(run):
    write(run, 2).rename(run.checkpoint_path(9))
    with pytest.raises(RedteamError, match="step-000009' holds the checkpoint of step 2"):
        run.latest()


def test_partial_folders_and_strangers_are_no_checkpoints(run):
    assert run.latest() is None
    write(run, 1)
    for name in (".step-000009.partial", "step-x", "step-000007.bak", "step-8", "notes"):
        (run.checkpoints_folder / name).mkdir()
    (run.checkpoints_folder / "step-000006").write_text("a file")
    assert run.latest().step == 1


def test_a_checkpoint_that_a_killed_process_was_replacing_is_found(run):
    write(run, 1)
    for which in (2, "best"):
        with run.new_checkpoint(2, None if which == 2 else which) as folder:
            folder.joinpath("weights").write_text("old")
        path = run.checkpoint_path(which)
        path.rename(path.with_name(f".{path.name}.old"))
    assert [x.step for x in run.checkpoints()] == [1, 2]
    for found in (run.latest(), run.at(2), run.best()):
        assert (found.path / "weights").read_text() == "old"
    assert (newest(run.path) / "weights").read_text() == "old"
    write(run, 2)
    assert sorted(x.name for x in run.checkpoints_folder.iterdir()) == [
        ".best.old",
        "step-000001",
        "step-000002",
    ]


def test_a_checkpoint_is_written_over_one_of_the_same_step(run):
    (write(run) / "stale").write_text("old")
    assert not (write(run) / "stale").exists()


def test_the_configuration_is_read_back(run):
    assert run.stored_config() == {"model": "m", "seed": 3}
    assert run.record()["policy"] == {}
    assert Run(run.path / "nowhere").stored_config() is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": 1}', '{"schema": 1, "config": 2}'])
def test_another_configuration_is_an_error_that_names_the_file(run, content):
    (run.path / "config.json").write_text(content)
    with pytest.raises(RedteamError, match=r"config\.json.*Restore it"):
        run.stored_config()


def test_rows_are_added_one_by_one_and_replaced_together(run):
    assert run.rows() == []
    for step in range(3):
        run.add_row({"step": step, "x": None})
    assert [row["step"] for row in run.rows()] == [0, 1, 2]
    run.write_rows(run.rows()[:1])
    assert run.rows() == [{"step": 0, "x": None}]


@pytest.mark.parametrize("torn", ['{"step": 1, "x": 0.', "\0\0\0\0", '{"x": 1}'])
def test_a_last_row_that_a_crash_cut_off_is_left_out(run, torn):
    run.add_row({"step": 0})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write(torn)
    assert run.rows() == [{"step": 0}]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "7",
        '{"step": "0"}',
        pytest.param("[" * 100_000, id="deep"),
        pytest.param("1" * 5_000, id="huge"),
    ],
)
def test_case_a5_any_other_damaged_row_is_an_error_that_names_it(run, line):
    (run.path / "metrics.jsonl").write_text(f'{{"step": 0}}\n{line}\n{{"step": 2}}\n')
    with pytest.raises(RedteamError, match=r"^Line 2 of .*metrics\.jsonl' cannot be read.*$"):
        run.rows()


def test_games_of_steps_to_come_are_dropped(run):
    for step in (0, 1, 2):
        run.write_episodes(step, [])
    (run.path / "episodes" / "notes.jsonl").write_text("mine")
    run.drop_episodes(1)
    left = sorted(x.name for x in (run.path / "episodes").iterdir())
    assert left == ["notes.jsonl", "step-000000.jsonl"]


@pytest.mark.parametrize(
    "inside", [".", "checkpoints/step-000003", "checkpoints/step-000003/policy"]
)
def test_a_run_is_found_from_any_folder_in_it(run, inside):
    write(run)
    (run.path / "checkpoints" / "step-000003" / "policy" / "config.json").write_text("{}")
    assert find_run(run.path / inside) == run


def test_a_place_outside_of_runs_belongs_to_none(tmp_path):
    (tmp_path / "config.json").write_text('{"architectures": ["Qwen2ForCausalLM"]}')
    assert find_run(tmp_path) is None
    assert newest(tmp_path) == tmp_path


def test_a_run_without_a_checkpoint_has_no_newest_one(run):
    for _ in range(2):
        with pytest.raises(RedteamError, match="has no checkpoint yet"):
            newest(run.path)
        run.checkpoints_folder.mkdir(exist_ok=True)
    (run.checkpoints_folder / "step-000001").mkdir()
    with pytest.raises(RedteamError, match=r"manifest\.json' cannot be read"):
        newest(run.path)


def test_a_league_is_read_back_from_its_checkpoint(run):
    record = {"opponents": "psro", "state": {"a": 1}, "versions": {}, "replay": None}
    with run.new_checkpoint(1) as folder:
        assert read_league(folder) is None
        write_league(folder, record)
    assert read_league(run.latest().path) == {"schema": 1, **record}


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": 1}', '{"schema": 9, "versions": {}}'])
def test_a_damaged_league_is_named(run, content):
    path = write(run)
    (path / "league.json").write_text(content)
    with pytest.raises(RedteamError, match=r"league\.json"):
        read_league(path)


@pytest.mark.parametrize(
    "inside", [".", "checkpoints/step-000003", "checkpoints/step-000003/policy"]
)
def test_a_saved_agent_is_found_by_its_run_checkpoint_or_folder(run, inside):
    folder = agent_in(run)
    saved = find_saved(str(run.path / inside))
    assert (saved.agent, saved.role, saved.others) == ("net", "attacker", {"defender": "base"})
    assert saved.directory.resolve() == folder.resolve()
    assert saved.card["layers"] == 2


def test_weights_without_a_card_are_no_saved_agent(run):
    assert find_saved(str(run.path)) is None
    write(run)
    assert find_saved(str(run.path)) is None


@pytest.mark.parametrize(
    "content", ["{", '{"schema": 1}', '{"schema": 1, "agent": "a", "role": "b", "others": 3}']
)
def test_a_damaged_card_is_an_error_that_names_it(run, content):
    folder = agent_in(run)
    (folder.parent / "manifest.json").unlink()
    (folder / AGENT).write_text(content)
    with pytest.raises(RedteamError, match=r"agent\.json.*another checkpoint"):
        find_saved(str(folder))


def test_the_files_of_a_saved_agent_are_verified(run):
    folder = agent_in(run)
    (folder / AGENT).write_text((folder / AGENT).read_text() + " ")
    with pytest.raises(RedteamError, match=r"agent\.json' was altered"):
        find_saved(str(folder))
