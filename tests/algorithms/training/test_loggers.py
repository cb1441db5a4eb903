"""Loggers of a run: what they are given, what happens when one fails, and the trackers' real libraries."""

import json
import os
import shutil
from typing import ClassVar

import pytest
from rich.console import Console

from algorithms.cli.train import parse_train
from algorithms.training.config import TrainConfig
from algorithms.training.log import LoggingConfig, make_loggers
from algorithms.training.trainer import train
from redteam_env.game import RedteamError
from redteam_env.protocols import LoggedRun, LogTable


class Notes:
    """Keeps what it is given."""

    made: ClassVar = []

    def __init__(self, **options):
        self.options, self.steps = options, []
        Notes.made.append(self)

    def start(self, run):
        self.run = run
        return {"id": run.state.get("id", "first")}

    def log(self, step, scalars, tables, files):
        self.steps.append((step, scalars, tables, [x.name for x in files]))

    def finish(self, outcome):
        self.outcome = outcome


class Every(Notes):
    """Keeps nothing for later, as an event file does."""

    def start(self, run):
        super().start(run)


class Down(Notes):
    """A tracker that cannot be reached from some point on."""

    def log(self, step, scalars, tables, files):
        super().log(step, scalars, tables, files)
        raise ConnectionError("no route to the tracker\nwith a long story")


@pytest.fixture(autouse=True)
def notes(doubles):
    Notes.made = []
    doubles("loggers", "notes", Notes)
    doubles("loggers", "every", Every)
    doubles("loggers", "down", Down)


@pytest.fixture
def flat(tiny_options, tmp_path):
    def make(**options):
        own = {"out": str(tmp_path / "run"), "logger": "notes", **options}
        return TrainConfig.from_flat({**tiny_options, **own})

    return make


def rows_of(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_logger_gets_the_numbers_of_the_record_and_resumes_its_own(flat, tmp_path):
    train(flat(logger="notes?project=demo", steps=1))
    train(flat(logger="notes?project=demo", steps=2, resume=True))
    first, second = Notes.made
    assert first.options == {"project": "demo"}
    assert (first.run.step, first.run.state) == (0, {})
    assert (second.run.step, second.run.state) == (1, {"id": "first"})
    given = [{"step": step, **scalars} for x in (first, second) for step, scalars, _, _ in x.steps]
    assert given == rows_of(tmp_path / "run")
    assert second.outcome.steps == 2
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_steps_taken_again_reach_only_loggers_without_a_record_of_their_own(flat, tmp_path):
    train(flat(logger="notes,every", steps=3, checkpoint_every=2))
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-000003")
    train(flat(logger="notes,every", steps=4, checkpoint_every=2, resume=True))
    _, _, notes, every = Notes.made
    assert notes.run.step == 2
    assert [step for step, *_ in notes.steps] == [3]
    assert [step for step, *_ in every.steps] == [2, 3]
    assert [row["step"] for row in rows_of(tmp_path / "run")] == [0, 1, 2, 3]


def test_rows_that_a_resumed_run_has_lost_are_told_of(flat, tmp_path):
    train(flat(steps=2, checkpoint_every=1))
    (tmp_path / "run" / "metrics.jsonl").unlink()
    with pytest.warns(UserWarning, match="lacks the rows of 2 of the 2 steps so far") as said:
        train(flat(steps=3, resume=True))
    assert "the first that of step 1" in str(said[0].message)
    assert [row["step"] for row in rows_of(tmp_path / "run")] == [2]


def test_a_logger_that_fails_is_told_once_and_the_run_goes_on(flat, two_steps, tmp_path, capsys):
    outcome = train(flat(logger="down,notes"))
    assert outcome.finished
    down, notes = Notes.made
    assert len(down.steps) == 1
    assert len(notes.steps) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("'down'") == 2  # the logger, in one sentence
    assert said.count("no route to the tracker") == 1
    timed = {"time/play_s", "time/update_s"}
    own, whole = (
        [{k: v for k, v in row.items() if k not in timed} for row in rows_of(x)]
        for x in (tmp_path / "run", two_steps)
    )
    assert own == whole


def test_dialogues_are_redacted_until_asked_for(flat, tmp_path):
    for k, shown in enumerate((False, True)):
        out = str(tmp_path / f"run-{k}")
        train(flat(log_dialogues=2, log_texts=shown, out=out))
        (_, _, none, _), (step, _, tables, _) = Notes.made[k].steps
        assert not none
        assert step == 1
        table = tables["dialogues"]
        assert len(table.rows) == 8
        assert all(len(row) == len(table.columns) for row in table.rows)
        texts = [row[table.columns.index("dialogue")] for row in table.rows]
        assert all(("[redacted: " in text) != shown for text in texts)


def test_nothing_secret_reaches_a_logger(flat, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "correct-horse-battery")
    train(flat(logger="notes?api_key=correct-horse-battery&url=http://me:pw@host/", steps=1))
    told = json.dumps(Notes.made[0].run.config)
    assert Notes.made[0].options["api_key"] == "correct-horse-battery"
    assert "notes?api_key=[hidden]" in told
    assert "horse" not in told
    assert "me:pw" not in told


def test_only_the_process_that_leads_has_loggers(flat):
    from algorithms.training.log import RunLog

    silent = RunLog(LoggingConfig(), {}, Console())
    silent.on_start(type("Run", (), {"directory": "nowhere", "leads": False}))
    silent.on_update(0, {"game/void": 1})
    silent.on_end(None)


def test_loggers_can_be_named_one_an_option(arguments):
    config = parse_train([*arguments()[1:], "--logger", "notes", "--logger=down?a=1"])
    assert config.logging.named == [("notes", {}), ("down", {"a": "1"})]


@pytest.mark.parametrize(
    ("logger", "said"),
    [
        ("wandbb", "Unknown logger 'wandbb'"),
        ("notes,notes?a=1", "names 'notes' twice"),
        ("tensorboard?depth=2", "cannot be made with the options"),
    ],
)
def test_a_logger_that_cannot_be_is_refused(logger, said):
    with pytest.raises(RedteamError, match=said):
        make_loggers(LoggingConfig(logger=logger))


def test_a_library_that_is_missing_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    with pytest.raises(RedteamError, match=r"pip install 'redteam-env\[mlflow\]'"):
        make_loggers(LoggingConfig(logger="mlflow"))


def session(name, options, directory, *, steps, state=None):
    """One session of a real tracker: some steps, a table and a file. Returns its state."""
    logger = make_loggers(LoggingConfig(logger=f"{name}?{options}"))[name]
    run = LoggedRun(
        name="run",
        directory=directory,
        config={"lr": 1e-3},
        step=steps[0],
        state=state or {},
    )
    found = logger.start(run)
    table = LogTable(columns=("game", "dialogue"), rows=[(0, "attacker: hello"), (1, None)])
    (directory / "preflight.json").write_text("{}")
    for k in steps:
        scalars = {"game/void": k, "defender/kl": None}
        logger.log(k, scalars, {"dialogues": table}, [directory / "preflight.json"])
    logger.finish(None)
    return found


def test_trackio_keeps_one_run_over_two_sessions(tmp_path, monkeypatch):
    pytest.importorskip("trackio")
    from trackio import utils
    from trackio.sqlite_storage import SQLiteStorage

    for module in (utils, __import__("trackio.sqlite_storage", fromlist=["x"])):
        monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path, raising=False)
    state = session("trackio", "project=demo", tmp_path, steps=[0, 1])
    again = session("trackio", "project=demo", tmp_path, steps=[2], state=state)
    assert again == state
    assert SQLiteStorage.get_runs("demo") == [state["name"]]
    rows = SQLiteStorage.get_logs("demo", state["name"])
    assert [row["step"] for row in rows] == [0, 1, 2]


def test_wandb_keeps_one_run_over_two_sessions(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    state = session("wandb", "mode=offline", tmp_path, steps=[0, 1])
    again = session("wandb", "mode=offline", tmp_path, steps=[2], state=state)
    assert again == state
    places = sorted((tmp_path / "wandb").glob("offline-run-*"))
    assert len(places) == 2  # `wandb sync` makes one run of them: they have one id
    assert all(place.name.endswith(state["id"]) for place in places)
    assert all(list(place.glob("*.wandb")) for place in places)


def test_mlflow_keeps_one_run_over_two_sessions(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    where = f"uri=file:{tmp_path / 'store'}"
    state = session("mlflow", where, tmp_path, steps=[0, 1])
    again = session("mlflow", where, tmp_path, steps=[2], state=state)
    assert again == state
    client = mlflow.MlflowClient(tracking_uri=f"file:{tmp_path / 'store'}")
    history = client.get_metric_history(state["run_id"], "game/void")
    assert [(x.step, x.value) for x in history] == [(0, 0), (1, 1), (2, 2)]
    kept = client.get_run(state["run_id"])
    assert kept.data.params == {"lr": "0.001"}
    assert kept.info.status == "FAILED"
    names = {x.path for x in client.list_artifacts(state["run_id"], "dialogues")}
    assert names == {f"dialogues/step-00000{k}.jsonl" for k in (0, 1, 2)}
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "2"
