"""Callbacks: what they see, what they may change, and what a resumed run gives them back."""

import dataclasses
import json
from dataclasses import dataclass

import numpy as np
import pytest
from table_game import MatrixJudge, players
from test_algorithms_learn import options
from training_fakes import metrics

from algorithms import train
from redteam_env import register
from redteam_env.cli.main import main
from redteam_env.game import RedteamError
from redteam_env.protocols import Callback, Reply
from redteam_env.rollout import role_batches


@pytest.fixture
def run(doubles, tmp_path):
    """Train table players for two steps, with any callbacks and options."""
    doubles("judges", "matrix", lambda: MatrixJudge(matrix=((0, 1, 1), (0, 0, 1), (0, 0, 1))))

    def start(*callbacks, policy=None, algorithm="reinforce", **more):
        out = tmp_path / more.pop("out", "run")
        given = options(algorithm, out, **{"steps": 2, **more})
        return train(policy=policy or players(), callbacks=callbacks, **given)

    return start


class Witness(Callback):
    """Writes down what it is told."""

    def __init__(self):
        self.told = []

    def on_start(self, run):
        self.run = run
        self.told.append(("start", run.step, run.resumed is not None))

    def setups(self, step, setups):
        self.told.append(("setups", step, len(setups)))
        return setups

    def agent(self, role, setups):
        self.told.append(("agent", role))

    def on_episodes(self, step, episodes):
        self.told.append(("episodes", step, len(episodes)))
        return episodes

    def on_update(self, step, row):
        assert row is self.run.row
        assert set(self.run.batches) == {"attacker", "defender"}
        assert self.run.batches["attacker"].step == step
        row["witness/steps"] = step + 1
        self.told.append(("update", step, self.run.ending))

    def on_checkpoint(self, directory):
        (directory / "witness.txt").write_text("here", encoding="utf-8")
        self.told.append(("checkpoint",))

    def on_end(self, outcome):
        self.told.append(("end", outcome and outcome.finished))


def test_a_callback_is_told_everything_in_order(run):
    witness = Witness()
    outcome = run(witness)
    step = [("setups", 16), ("agent", "attacker"), ("agent", "defender"), ("episodes", 16)]
    expected = [("start", 0, False)]
    for k in (0, 1):
        expected += [(x[0], k, x[1]) if x[0] != "agent" else x for x in step]
        expected.append(("update", k, k == 1))
    assert witness.told == [*expected, ("checkpoint",), ("end", True)]
    assert [row["witness/steps"] for row in metrics(outcome.directory)] == [1, 2]
    assert (outcome.directory / "checkpoints/step-000002/witness.txt").is_file()


def test_a_callback_hears_of_the_end_after_an_error_too(run):
    witness = Witness()

    class Broken:
        def on_update(self, step, row):
            raise RedteamError("no more")

    with pytest.raises(RedteamError, match="Step 0: no more"):
        run(witness, Broken())
    assert witness.told[-1] == ("end", None)


def test_a_callback_changes_seeds_players_and_lessons(run):
    class Says:
        def act(self, requests):
            return [Reply(text="c") for _ in requests]

    class Curriculum:
        def setups(self, step, setups):
            return [dataclasses.replace(x, seed=setups[0].seed) for x in setups]

        def agent(self, role, setups):
            return Says() if role == "defender" else None

        def on_episodes(self, step, episodes):
            return episodes[:5]

    outcome = run(Curriculum(), steps=1)
    lines = (outcome.directory / "episodes/step-000000.jsonl").read_text("utf-8").splitlines()
    games = [json.loads(line) for line in lines]
    assert len({game["seed"]["id"] for game in games}) == 1
    assert {turn["text"] for game in games for turn in game["turns"][1:]} == {"c"}
    (row,) = metrics(outcome.directory)
    assert (row["attacker/samples"], row["defender/samples"]) == (5, 5)
    assert "defender/kl" not in row


@dataclass
class Counter(Callback):
    """Counts steps over all calls."""

    name: str = "counter"
    steps: int = 0

    def on_update(self, step, row):
        self.steps += 1

    def state(self):
        return {"steps": self.steps}

    def load_state(self, state):
        self.steps = state["steps"]


def test_a_resumed_run_gives_a_callback_its_state_back(run):
    run(Counter(), checkpoint_every=1)
    resumed = Counter()
    run(resumed, steps=3, resume=True)
    assert resumed.steps == 3
    with pytest.raises(RedteamError, match=r"state of a callback 'counter'.*give it again"):
        run(steps=4, resume=True)


class Misspelt(Callback):
    def on_updated(self, step, row):
        """Never called."""


class Forgetful:
    def state(self):
        return {"steps": 1}


@pytest.mark.parametrize(
    ("callbacks", "match"),
    [
        ([Counter], "is no callback: give an object"),
        ([print], "is no callback"),
        ([Counter(), Counter()], "Two callbacks with a state are called 'counter'"),
        ([Misspelt()], "'on_updated'.*on_update"),
        ([Forgetful()], r"'Forgetful' has a state\(\) but no load_state"),
    ],
)
def test_what_is_no_callback_is_named(run, callbacks, match):
    with pytest.raises(RedteamError, match=match):
        run(*callbacks)


@pytest.mark.parametrize("given", [None, "novelty", Counter()], ids=["none", "text", "one"])
def test_callbacks_stand_in_a_list(given):
    with pytest.raises(RedteamError, match=r"callbacks is .*; give a list of your objects\."):
        train(callbacks=given)


def test_callbacks_without_a_state_need_no_names(run):
    first, second = Witness(), Witness()
    run(first, second, steps=1)
    assert first.told == second.told


class Returns:
    """Returns nothing where the games are wanted, or logs what is no number."""

    def __init__(self, method, value=None):
        setattr(self, method, lambda *_: value)


@pytest.mark.parametrize(
    ("method", "value", "match"),
    [
        ("setups", None, r"setups\(\) of the callback 'Returns' returned nothing"),
        ("setups", [], "'Returns' left no games to play"),
        ("on_episodes", None, r"on_episodes\(\) of the callback 'Returns' returned nothing"),
    ],
)
def test_a_callback_that_returns_nothing_is_named(run, method, value, match):
    with pytest.raises(RedteamError, match=match):
        run(Returns(method, value))


def test_numbers_of_numpy_are_logged_and_other_things_named(run):
    class Logs:
        def __init__(self, value):
            self.value = value

        def on_update(self, step, row):
            row["own/value"] = self.value

    assert metrics(run(Logs(np.float32(0.5)), steps=1).directory)[0]["own/value"] == 0.5
    with pytest.raises(RedteamError, match="'own/value' is 'much'"):
        run(Logs("much"), steps=1, out="other")


def test_what_is_learned_from_does_not_change_what_was_played(run):
    class Forgets:
        def on_episodes(self, step, episodes):
            return []

    rows = metrics(run(Forgets(), steps=6).directory)
    assert [row["game/games"] for row in rows] == [16] * 6
    assert all(row["game/tokens"] > 16 and row["attacker/samples"] == 0 for row in rows)


def test_everyone_started_cleans_up_and_the_first_error_is_told(run):
    ended = []

    class Ends:
        def __init__(self, number, *, at_start=False):
            self.number, self.at_start = number, at_start

        def on_start(self, run):
            if self.at_start:
                raise RedteamError("cannot begin")

        def on_end(self, outcome):
            ended.append(self.number)
            raise ValueError(self.number)

    with pytest.raises(RedteamError, match="callback 'Ends' raised ValueError: 1") as caught:
        run(Ends(1), Ends(2), steps=1)
    assert isinstance(caught.value.__cause__, ValueError)
    assert ended == [1, 2]
    with pytest.raises(RedteamError, match="cannot begin"):
        run(Ends(3), Ends(4, at_start=True), Ends(5), steps=1, out="other")
    assert ended == [1, 2, 3, 4]


def test_a_checkpoint_that_was_asked_for_holds_what_all_counted(run):
    class Keeper(Callback):
        def on_start(self, run):
            self.run = run
            with pytest.raises(RedteamError, match="on_update only"):
                run.save("early")

        def on_update(self, step, row):
            self.run.save("mine")

    counter = Counter()
    outcome = run(Keeper(), counter, steps=2)
    state = json.loads((outcome.directory / "checkpoints/mine/state.json").read_text("utf-8"))
    assert state["step"] == 2
    assert state["callbacks"] == {"counter": {"steps": 2}}
    assert (outcome.directory / "checkpoints/step-000002").is_dir()


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteConfig:
    """Settings: note is what is logged."""

    note: float = 1.0


class Note:
    """A plug-in callback with a setting."""

    Config = NoteConfig

    def __init__(self, config):
        self.config = config

    def on_update(self, step, row):
        row["note/value"] = self.config.note


def test_an_installed_callback_is_named_and_brings_its_options(run):
    register("callbacks", "note", Note)
    register("callbacks", "witness", Witness)
    outcome = run(callback="note,witness", note=2.5)
    assert [row["note/value"] for row in metrics(outcome.directory)] == [2.5, 2.5]
    assert metrics(outcome.directory)[0]["witness/steps"] == 1
    with pytest.raises(RedteamError, match="note"):
        run(note=2.5, out="elsewhere")
    with pytest.raises(RedteamError, match="callback 'nothing'"):
        run(callback="nothing", out="elsewhere")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClashConfig:
    """Settings, one with a name that is taken."""

    seed: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BareConfig:
    """Settings, one without a default."""

    size: int


def test_callbacks_are_named_on_the_command_line_and_their_faults_too(arguments, capsys, tmp_path):
    register("callbacks", "my-note", Note)
    assert main(arguments("--callback", "my-note", "--note", "3", steps=1)) == 0
    assert metrics(tmp_path / "run")[0]["note/value"] == 3.0
    for config, said in (
        (ClashConfig, "has the field 'seed'"),
        (BareConfig, "no default for size"),
    ):
        register("callbacks", "wrong", type("Wrong", (Note,), {"Config": config}))
        assert main(arguments("--callback", "wrong")) == 2
        assert said in " ".join(capsys.readouterr().err.split())
    register("callbacks", "wrong", type("Wrong", (Witness,), {"Config": NoteConfig}))
    assert main(arguments("--callback", "wrong", steps=1, out=str(tmp_path / "b"))) == 2
    assert "cannot be made as factory(config)" in " ".join(capsys.readouterr().err.split())


def test_an_algorithm_plays_further_games_within_its_step(run):
    from algorithms.reinforce import Reinforce

    class Twice(Reinforce):
        """Learns from as many games again, against a defender that always says a."""

        def update(self, policy, batches, *, rollout):
            class Says:
                def act(self, requests):
                    return [Reply(text="a") for _ in requests]

            setups = rollout.schedule(6, "more")
            assert rollout.schedule(6, "more") == setups != rollout.schedule(6, "other")
            episodes = rollout.play(setups, {"defender_0": Says()})
            assert all(e.turns[-1].text == "a" for e in episodes)
            batches = {**batches, **role_batches(episodes, step=rollout.step)}
            return super().update(policy, batches)

    register("algorithms", "twice", Twice)
    outcome = run(algorithm="twice")
    rows = metrics(outcome.directory)
    assert [row["rollout/games"] for row in rows] == [6, 6]
    assert all(row["rollout/tokens"] == 6 for row in rows)
    plain = metrics(run(algorithm="reinforce", out="plain").directory)
    assert not any("rollout/games" in row for row in plain)
