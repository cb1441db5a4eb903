"""The papers' recipes: their cards, whole runs of them at scale tiny, and what overrides them."""

import json
import zlib
from dataclasses import fields

import pytest
from support_servers import RECORDED, RecordedJudgeServer
from training_fakes import metrics

from algorithms import TrainConfig, train
from algorithms.cli.train import parse_train
from algorithms.recipes import HOME
from algorithms.training.departures import departures
from algorithms.training.presets import REPLACED, REPLACED_IF_SET
from redteam_env import registry
from redteam_env.cli.main import main
from redteam_env.game import GameConfig, RedteamError
from redteam_env.recipes import find_recipe, recipe_names
from redteam_env.utils.packages import CACHE_VARIABLE

PAPERS = ("self_redteam_3b", "abs_3b", "magic_7b")
SIZES = ("0.5b", "3b", "7b", "14b")


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path_factory.getbasetemp() / "cache"))


def without_needs(name):
    return {"recipe": name, **dict.fromkeys(find_recipe(name).needs)}


def test_each_paper_has_each_size():
    wanted = {f"{paper}_{size}" for paper in ("self_redteam", "abs", "magic") for size in SIZES}
    assert wanted <= set(recipe_names())


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_is_a_run_whose_every_setting_has_a_source(name):
    recipe = find_recipe(name)
    flat = TrainConfig.from_flat(without_needs(name)).flat()
    assert {x: flat[x] for x in recipe.options} == recipe.options
    assert all(setting.source.strip() for setting in recipe.settings.values())
    size = name.rpartition("_")[2].upper()
    assert flat["model"] == f"Qwen/Qwen2.5-{size}-Instruct"


def test_the_papers_differ_in_what_they_train():
    found = {x: TrainConfig.from_flat(without_needs(x)).flat() for x in PAPERS}
    assert [found[x]["arrangement"] for x in PAPERS] == ["shared_full", "bipolicy", "independent"]
    assert [found[x]["steps"] for x in PAPERS] == [200, 100, 300]
    ours = {x for x, y in find_recipe("abs_3b").settings.items() if y.source.startswith("ours")}
    assert {"lr", "alpha", "opponents", "sft_batch", "kl"} <= ours
    assert not {"arrangement", "rank", "steps", "model"} & ours


PROMPT = "Human user:\n{prompt}\n\nAI assistant:\n{response}\n\nAnswers:\n"


def recorded(query):
    """One of the recorded answers, the same for the same prompt."""
    return RECORDED[zlib.crc32(query["prompt"].encode()) % len(RECORDED)]


@pytest.fixture
def judged(tmp_path):
    """The options by which a recipe's own judge is asked, of a server that plays answers back."""
    (tmp_path / "prompt.txt").write_text(PROMPT)

    def words(name, url):
        judge = find_recipe(name).options["judge"]
        return ["--judge", f"{judge}?template_file={tmp_path}/prompt.txt", "--judge-url", url]

    with RecordedJudgeServer(recorded) as server:
        yield server, words


@pytest.mark.parametrize("name", PAPERS)
def test_a_recipe_at_scale_tiny_ends_resumes_and_is_evaluated(name, tmp_path, capsys, judged):
    run = str(tmp_path / "run")
    server, judge = judged
    words = ["train", "--recipe", name, "--scale", "tiny", "--out", run, "--json"]
    words += judge(name, server.url)
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["finished"]
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert set(config["differs_from_recipe"]) == {"judge"}
    sizes = {*REPLACED, *REPLACED_IF_SET}
    expected = {x: y for x, y in find_recipe(name).options.items() if x not in sizes}
    assert {x: config["config"][x] for x in expected} == expected
    assert main([*words, "--resume", "--steps", "3"]) == 0
    assert json.loads(capsys.readouterr().out)["played"] == 1
    rows = metrics(tmp_path / "run")
    assert [row["step"] for row in rows] == [0, 1, 2]
    learned = {x.partition("/")[0] for row in rows for x, y in row.items() if "/lr" in x and y}
    assert learned == {"attacker", "defender"}
    assert sum(row["usage/judge/requests"] for row in rows) > 0
    assert sum(row["usage/judge/failed"] + row["game/void"] for row in rows) == 0
    assert {body["model"] for _, _, body in server.requests} == {"allenai/wildguard"}
    if "sft_file" in find_recipe(name).needs:
        assert rows[-1]["defender/sft_loss"] > 0
        assert rows[-1]["attacker/sft_loss"] > 0
    asked = len(server.requests)
    assert main(["evaluate", run, "--games", "4", "--allow-void", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["judge"]["name"] == "wildguard"
    assert report["judge"]["revision"].startswith("allenai/wildguard ")
    assert len(server.requests) > asked


def test_an_option_beside_a_recipe_counts_and_is_listed(tmp_path, capsys):
    out = tmp_path / "run"
    words = ["train", "--recipe", "abs_3b", "--scale", "tiny", "--out", str(out), "--steps", "1"]
    assert main([*words, "--kl", "0.5", "--block", "2", "--opponents", "alternating"]) == 0
    told = capsys.readouterr().err
    assert "Differs from the recipe abs_3b at scale tiny: " in told
    assert "kl 0.5 (there 0.01)" in told
    differing = json.loads((out / "config.json").read_text())["differs_from_recipe"]
    assert differing["kl"] == {"recipe": 0.01, "run": 0.5}
    assert differing["opponents"] == {"recipe": "self_play", "run": "alternating"}
    assert differing["steps"] == {"recipe": 2, "run": 1}
    assert main(["recipes", "show", str(out), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["recipe"], shown["differs"]) == ("abs_3b", differing)
    assert main(["recipes", "show", str(out)]) == 0
    assert "the run differs from the recipe" in capsys.readouterr().out


def test_options_that_another_choice_has_no_use_for_are_left_out():
    config = TrainConfig.from_flat(
        {"recipe": "magic_7b", "opponents": "self_play", "init_from": None}
    )
    assert "block" not in config.flat()
    assert {"opponents", "block", "init_from"} <= set(departures(config))


def test_what_the_machine_decides_is_no_difference():
    options = {
        **without_needs("abs_3b"),
        "sft_file": "mine.jsonl",
        "judge_url": "http://127.0.0.1:1",
    }
    config = TrainConfig.from_flat({**options, "seed": 3, "generation_batch": 7, "device": "cpu"})
    assert departures(config) == {}


@pytest.mark.parametrize(
    "call", [parse_train, lambda words: TrainConfig.from_flat({"recipe": words[1]})]
)
def test_what_a_recipe_needs_is_asked_for(call):
    with pytest.raises(RedteamError, match=r"needs --sft-file: benign requests.*--sft-file none"):
        call(["--recipe", "self_redteam_3b"])


def test_going_without_it_is_listed():
    config = parse_train(["--recipe", "self_redteam_3b", "--sft-file", "None"])
    assert departures(config) == {"sft_file": ("yours to give", None)}


def test_a_role_s_own_rate_does_not_outlive_the_rate_that_is_given(tmp_path):
    (tmp_path / "mine.toml").write_text("defender_lr = 1e-3\nattacker_kl = 0.2\n")
    given = parse_train(["--config", str(tmp_path / "mine.toml"), "--lr", "1e-5"])
    assert (given.learner.lr, given.learner.defender_lr) == (1e-5, None)
    assert given.learner.attacker_kl == 0.2


class TestConfigFile:
    @pytest.fixture
    def write(self, tmp_path):
        def write(text):
            (tmp_path / "mine.toml").write_text(text)
            return ["--config", str(tmp_path / "mine.toml")]

        return write

    def test_options_come_from_it_and_the_command_counts_more(self, write):
        words = write('recipe = "abs_3b"\nsft_file = "mine.toml"\nsteps = 7\nrank = 8\n')
        flat = parse_train([*words, "--rank", "2"]).flat()
        assert (flat["steps"], flat["rank"], flat["arrangement"]) == (7, 2, "bipolicy")

    def test_python_reads_it_too(self, write):
        file = write("steps = 7")[1]
        assert TrainConfig.from_flat({"config": file}).run.steps == 7

    def test_places_in_it_are_taken_from_its_folder(self, write, tmp_path, monkeypatch):
        (tmp_path / "seeds.csv").write_text("text,harmful\n")
        monkeypatch.chdir(tmp_path.parent)
        assert parse_train(write('seeds = "seeds.csv"')).game.seeds == str(tmp_path / "seeds.csv")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("step = 7", "Unknown option in .*'step'. Did you mean 'steps'?"),
            ("clip = 0.1\nalgorithm = 'reinforce'", "Unknown option in .*'clip'"),
            ("steps = '7'", "steps is '7'; give a whole number"),
            ("algorithm = ['grpo']", "algorithm is .'grpo'.; give a text"),
            ("lr = true", "lr is True; give a finite number"),
            ("recipe = 'abs'", "Unknown recipe 'abs'. Did you mean"),
            ("out = '/tmp/x'", "has 'out', which belongs to the command.*give --out"),
            ("resume = true", "has 'resume'"),
            ("[game]\nseeds = 'x'", "Unknown option in .*'game'"),
            ("steps = ", "no TOML"),
        ],
    )
    def test_what_is_wrong_in_it_is_named(self, write, text, message):
        with pytest.raises(RedteamError, match=message):
            parse_train(write(text))

    @pytest.mark.parametrize(
        "text",
        [
            'judge = "wildguard"\njudge_url = "http://evil.example"',
            'seeds = "/etc/passwd"',
            'sft_file = "../secret.jsonl"',
            'opponent = "endpoint:m@http://evil.example"\narrangement = "attacker_only"',
            'backend = "served"\nserver_urls = "http://evil.example"',
        ],
    )
    def test_servers_and_places_outside_its_folder_are_used_only_if_the_user_names_them(
        self, write, text
    ):
        words = write(text)
        with pytest.raises(RedteamError, match="not used unless you name it yourself"):
            parse_train(words)

    def test_a_server_that_the_user_names_is_his(self, write):
        words = write('judge = "wildguard"\njudge_url = "http://evil.example"')
        flat = parse_train([*words, "--judge-url", "http://127.0.0.1:1"]).flat()
        assert flat["judge_url"] == "http://127.0.0.1:1"

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(RedteamError, match=r"none\.toml.*cannot be read"):
            parse_train(["--config", str(tmp_path / "none.toml")])

    @pytest.mark.parametrize("name", ["x" * 5000, "~no-such-user/x.toml", "/dev/zero", "a\0b"])
    def test_what_is_no_file_is_refused_in_words(self, name):
        with pytest.raises(RedteamError):
            TrainConfig.from_flat({"config": name})

    def test_a_folder_without_a_run_is_named(self, tmp_path):
        with pytest.raises(RedteamError, match=r"holds no config\.json"):
            parse_train(["--config", str(tmp_path)])


def test_the_record_of_a_run_repeats_it(tmp_path):
    options = {"scale": "tiny", "steps": 2, "json": True, "lr": 1e-3}
    first = train(out=str(tmp_path / "first"), **options).directory
    for record in (first, first / "config.json"):
        out = tmp_path / f"again-{record.name}"
        again = train(str(record), out=str(out), json=True).directory
        assert metrics(again) == metrics(first)
        assert json.loads((again / "config.json").read_text())["config"]["config"] is None


def test_a_stranger_s_record_names_no_server_for_us(tmp_path):
    config = {x.name: x.default for x in fields(GameConfig)}
    config |= {"judge": "wildguard", "judge_url": "http://evil.example"}
    (tmp_path / "config.json").write_text(json.dumps({"schema": 1, "config": config}))
    with pytest.raises(RedteamError, match="not used unless you name it yourself"):
        parse_train(["--config", str(tmp_path / "config.json")])


def test_the_scale_stands_over_a_file_that_does_not_name_it(tmp_path):
    (tmp_path / "mine.toml").write_text("steps = 50\nlr_schedule = 'linear'\nlr_steps = 50\n")
    flat = parse_train(["--config", str(tmp_path / "mine.toml"), "--scale", "tiny"]).flat()
    assert (flat["steps"], flat["lr_steps"], flat["model"]) == (2, 2, "tiny-random")
    (tmp_path / "mine.toml").write_text("scale = 'tiny'\nsteps = 50\n")
    flat = parse_train(["--config", str(tmp_path / "mine.toml")]).flat()
    assert (flat["steps"], flat["model"]) == (50, "tiny-random")


def test_a_run_goes_on_when_its_recipe_is_not_installed_any_more(tmp_path, capsys):
    cards = tmp_path / "cards"
    cards.mkdir()
    (cards / "mine.toml").write_text("[settings]\nkl = { value = 0.3, source = 'ours' }\n")
    words = ["train", "--recipe", "mine", "--scale", "tiny", "--out", str(tmp_path / "run")]
    with registry.isolated():
        registry.register("recipes", "mine", lambda: cards)
        assert main([*words, "--steps", "1", "--rank", "2"]) == 0
    assert main([*words, "--resume", "--steps", "2", "--rank", "2"]) == 0
    assert "differs from the recipe mine at scale tiny is not known" in capsys.readouterr().err
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    assert record["differs_from_recipe"]["rank"] == {"recipe": 4, "run": 2}
    assert record["config"]["kl"] == 0.3


def test_a_world_is_tiny_already():
    with pytest.raises(RedteamError, match="scale is 'tiny', but the world 'apothecary'"):
        parse_train(["--world", "apothecary", "--scale", "tiny"])


def test_the_command_shows_every_setting_with_its_source(capsys):
    assert main(["recipes", "list", "--json"]) == 0
    listed = {row["name"] for row in json.loads(capsys.readouterr().out)}
    assert listed == set(recipe_names())
    assert main(["recipes", "show", "self_redteam_3b"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "actor_learning_rate" in out
    assert "Needs --sft-file" in out
    assert main(["recipes", "show", "self_redteam_3"]) == 2
    assert "Did you mean" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({}, "holds no run of a recipe"),
        ({"config": {"recipe": 3}}, "holds no run of a recipe"),
        (
            {"config": {"recipe": "abs_3b"}, "differs_from_recipe": [1]},
            "differs_from_recipe in the",
        ),
        (
            {"config": {"recipe": "abs_3b"}, "differs_from_recipe": {"a": 1}},
            "differs_from_recipe in",
        ),
    ],
)
def test_a_folder_that_is_no_run_of_a_recipe_is_named(tmp_path, capsys, record, message):
    if record:
        (tmp_path / "config.json").write_text(json.dumps({"schema": 1, **record}))
    assert main(["recipes", "show", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_a_plan_of_a_recipe_says_where_it_fits_and_what_it_needs(capsys):
    assert main(["plan", "--recipe", "abs_3b", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"] == "Qwen/Qwen2.5-3B-Instruct"
    assert found["batch"]["new_tokens"] == 2048
    assert "h100-80gb" in found["recipe"]["fits_on"]
    assert "sft_file" in found["recipe"]["needs"]
    assert main(["plan", "--recipe", "self_redteam_14b"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "self_redteam_14b fits on: none of the known GPUs" in out
    assert "It needs --sft-file" in out
    assert main(["plan"]) == 2
    assert "give --model or --recipe" in capsys.readouterr().err


def test_the_cards_are_in_the_package():
    assert {x.stem for x in HOME.glob("*.toml")} == {"self_redteam", "abs", "magic"}
