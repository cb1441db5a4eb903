"""What lies outside a stranger's run is read only if the user names it, too; one's own run asks nothing."""

import json
import shlex

import pytest
from test_foreign_addresses import Terminal

from redteam_env.cli.main import main
from redteam_env.game import RedteamError
from redteam_env.runs import Run
from redteam_env.trust import STARTED, allow, options_of, sealed

SEEDS = "text,harmful,split\n" + "".join(
    f"{word} {split} {k},{harmful},{split}\n"
    for split in ("train", "heldout")
    for k in range(4)
    for word, harmful in (("kind", 0), ("HARM", 1))
)
PLAYED = ["evaluate", "--attacker", "echo", "--judge", "words", "--games", "4"]


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A folder of the user's own, beside the directory that commands are called in."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "seeds.csv").write_text(SEEDS)
    return folder


def write_run(tmp_path, *, own=False, started=None, **config):
    """A run directory as somebody else could have written it, or this account itself."""
    run = Run(tmp_path / "run")
    config = {"seeds": "words", "judge": "words", "opponent": None, **config}
    record = {"config": config, STARTED: str(started or tmp_path / "here")}
    run.write_record(sealed(record) if own else record)
    with run.new_checkpoint(1) as folder:
        (folder / "policy").mkdir()
        card = {"schema": 1, "agent": "sb3", "role": "attacker", "others": {"defender": "no"}}
        (folder / "policy" / "agent.json").write_text(json.dumps(card))
    return run.path


def refused(capsys, run, words):
    assert main([*PLAYED, "--defender", str(run)]) == 2
    said = capsys.readouterr().err
    assert "not used unless you name it yourself" in said
    assert words in said


@pytest.mark.parametrize(
    "form",
    [
        "{outside}/seeds.csv",
        "file:{outside}/seeds.csv",
        "{outside}/seeds.csv?text=text",
        "words,{outside}/seeds.csv",
        "words, file:{outside}/seeds.csv?only=harmful",
        "../mine/seeds.csv",
        "{run}/../mine/seeds.csv",
        "{run}/link.csv",
        "hub:{outside}",
        "file:/{outside}/seeds.csv",
        "{run}/in.csv,{outside}/seeds.csv",
    ],
)
def test_seeds_outside_a_strangers_run_are_not_read(tmp_path, outside, capsys, form):
    seeds = form.format(outside=outside, run=tmp_path / "run")
    run = write_run(tmp_path, seeds=seeds)
    (run / "in.csv").write_text(SEEDS)
    if "link" in form:
        (run / "link.csv").symlink_to(outside / "seeds.csv")
    refused(capsys, run, f"add --seeds {shlex.quote(seeds)}")
    if "link" not in form and "hub" not in form:  # named, they are as good as any
        named = [*PLAYED, "--defender", str(run), "--seeds", seeds]
        assert main(named) == 0


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("prompts", "{outside}"),
        ("model", "{outside}"),
        ("judge", "recorded:{outside}/seeds.csv"),
        ("judge", "{outside}/card.toml"),
        ("judge", "{outside}/card.toml?soft=true"),
        ("judge", "plain?soft=true&template_file={outside}/seeds.csv"),
        ("judge", "plain?model={outside}"),
        ("judge", "wildguard?url=http://127.0.0.1:9"),
        ("judge", "wildguard?url=http%3A%2F%2F127.0.0.1:9"),
        ("judge", "vote:words+wildguard?url=http%3A//127.0.0.1:9"),
        ("judge", "vote:words+recorded?file={outside}/seeds.csv"),
        ("judge", "vote:words+{outside}/card.toml"),
        ("judge", "cached:recorded?file={encoded}"),
        ("judge", "composite:prompt=words,refusal=words,harm={outside}/card.toml"),
        ("judge", "composite:prompt=words,refusal=words,harm=recorded?file=..%2Fmine%2Fseeds.csv"),
    ],
)
def test_nor_is_anything_else_that_its_options_name(tmp_path, outside, capsys, option, value):
    value = value.format(outside=outside, encoded=str(outside / "seeds.csv").replace("/", "%2F"))
    run = write_run(tmp_path, **{option: value})
    played = [x for x in PLAYED if x not in {"--judge", "words"}]
    assert main([*played, "--defender", str(run)]) == 2
    assert f"add --{option} {shlex.quote(value)}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("judge", "plain?model=somebody/thing"),
        ("judge", "plain?model=somebody%2Fthing"),
        ("judge", "cached:plain?model=somebody/thing"),
        ("judge", "vote:words+plain?model=somebody/thing&soft=true"),
        ("judge", "composite:prompt=words,refusal=words,harm=plain?model=somebody/thing"),
        ("seeds", "hub:somebody/thing"),
        ("seeds", "words,hub:somebody/thing?text=text"),
        ("faithfulness", "embedding:somebody/thing"),
        ("init_from", "somebody/thing"),
        ("opponent", "somebody/thing"),
        ("opponent", "attack:pair:somebody/thing"),
        ("opponents", "mixed:self,pair:somebody/thing"),
    ],
)
def test_what_a_stranger_would_have_fetched_from_the_hub_is_asked_for(
    tmp_path, outside, option, value
):
    run = Run(write_run(tmp_path, **{option: value}))
    options = options_of(run)
    with pytest.raises(RedteamError, match="not used unless you name it yourself") as told:
        allow(run, options)
    assert "'somebody/thing' of the Hugging Face hub" in str(told.value)
    assert f"add {option}={value!r}" in str(told.value)
    allow(run, {x: y for x, y in options.items() if x != option})  # he named it himself
    own = Run(write_run(tmp_path, own=True, **{option: value}))
    allow(own, options_of(own))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("model", "somebody/base"),
        ("bases", "judge:smollm2"),
        ("bases", "attacker:somebody/base,judge:smollm2"),
        ("judge", "wildguard"),
        ("judge", "harmbench?model=cais/HarmBench-Llama-2-13b-cls"),
        ("faithfulness", "embedding:minilm"),
        ("seeds", "words,builtin?split=train"),
    ],
)
def test_what_the_weights_were_trained_on_and_what_we_name_is_not_asked_for(
    tmp_path, outside, option, value
):
    run = Run(write_run(tmp_path, **{option: value}))
    allow(run, options_of(run))


def test_a_relative_place_of_a_stranger_is_taken_from_where_he_says_and_asked_for(
    tmp_path, outside, capsys
):
    run = write_run(tmp_path, started=outside, seeds="seeds.csv")
    refused(capsys, run, f"add --seeds {outside}/seeds.csv")


def test_what_lies_in_the_run_is_used_and_names_are_no_places(tmp_path, outside, capsys):
    run = write_run(tmp_path, seeds=f"words,{tmp_path}/run/seeds.csv")
    (run / "seeds.csv").write_text(SEEDS)
    (tmp_path / "here" / "words").mkdir()
    assert main([*PLAYED, "--defender", str(run)]) == 0


def test_a_link_out_of_a_strangers_run_is_not_followed(tmp_path, outside, capsys):
    run = write_run(tmp_path)
    (run / "opponents").symlink_to(outside)
    refused(capsys, run, f"{str(outside)!r} by the link 'opponents'")
    (run / "opponents").unlink()
    (run / "opponents").symlink_to(run / "checkpoints")
    assert main([*PLAYED, "--defender", str(run)]) == 0


def test_one_s_own_run_asks_nothing(tmp_path, outside):
    run = write_run(tmp_path, own=True, seeds=str(outside / "seeds.csv"))
    assert main([*PLAYED, "--defender", str(run)]) == 0
    assert main([*PLAYED, "--defender", str(run.rename(tmp_path / "moved"))]) == 0


def test_one_s_own_run_that_was_altered_is_a_strangers(tmp_path, outside, capsys):
    run = write_run(tmp_path, own=True)
    record = json.loads((run / "config.json").read_text())
    record["config"]["seeds"] = str(outside / "seeds.csv")
    (run / "config.json").write_text(json.dumps(record))
    refused(capsys, run, "add --seeds")


def test_a_run_of_another_account_is_a_strangers(tmp_path, outside, capsys, monkeypatch):
    run = write_run(tmp_path, own=True, seeds=str(outside / "seeds.csv"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    refused(capsys, run, "add --seeds")


def test_where_no_key_can_be_kept_every_run_is_a_strangers(tmp_path, outside, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    run = write_run(tmp_path, own=True, seeds=str(outside / "seeds.csv"))
    refused(capsys, run, "add --seeds")


def test_case_38_relative_seeds_of_a_run_are_found_from_elsewhere(tmp_path, outside):
    run = write_run(tmp_path, own=True, started=outside, seeds="seeds.csv?text=text")
    assert main([*PLAYED, "--defender", str(run)]) == 0
    # a file of the same name here is another one
    (tmp_path / "here" / "seeds.csv").write_text("nothing")
    assert main([*PLAYED, "--defender", str(run)]) == 0


def test_a_person_is_asked_once_for_a_place(tmp_path, outside, monkeypatch):
    asked = Terminal()
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    monkeypatch.setattr("sys.stderr", asked)
    run = write_run(tmp_path, seeds=str(outside / "seeds.csv"))
    assert main([*PLAYED, "--defender", str(run)]) == 0
    assert main([*PLAYED, "--defender", str(run)]) == 0
    assert asked.getvalue().count("[y/N]") == 1


JUDGE_CARD = """schema = 1
summary = "mine"
licence = "mine"
validated = "nothing"
protocols = ["completions", "transformers"]
{hub}

[[questions]]
form = "text"
parser = "yes_no"
about = "response"
{source}
"""
PACKAGE = """
[questions.{table}]
package = "somebodys-package"
version = "1.0"
member = "a/b.txt"
member_sha256 = "0"
sha256 = "0"
"""
SUITE_CARD = """title = "mine"
source = "mine"
licence = "mine"

[metric]
harmful = "success"

[[data]]
{data}
"""


@pytest.mark.parametrize(
    ("option", "card", "words"),
    [
        ("judge", {"hub": 'hub = "somebody/model"'}, "the model 'somebody/model'"),
        ("judge", {"hub": 'hub = "/etc"'}, "the model '/etc'"),
        ("judge", {"hub": 'hub = "../../mine"'}, "the model '../../mine'"),
        ("judge", {"source": PACKAGE.format(table="source")}, "somebodys-package==1.0"),
        ("judge", {"source": PACKAGE.format(table="system")}, "somebodys-package==1.0"),
        ("eval_suites", {"data": 'file = "/etc/passwd"'}, "the file '/etc/passwd'"),
        ("eval_suites", {"data": 'file = "../../mine/seeds.csv"'}, "seeds.csv"),
        ("eval_suites", {"data": 'hub = "somebody/set"'}, "the data set 'somebody/set'"),
    ],
)
def test_a_card_in_a_strangers_run_reaches_nothing_that_the_user_does_not_name(
    tmp_path, outside, option, card, words
):
    place = tmp_path / "run" / "card.toml"
    text = JUDGE_CARD if option == "judge" else SUITE_CARD
    text = text.format(**{"hub": "", "source": "", **card})
    refuses_card(write_run(tmp_path, **{option: str(place)}), option, text, words)


@pytest.mark.parametrize("form", ["cached:{}", "vote:words+{}?soft=true", "{}?model=mine"])
def test_nor_does_one_that_is_a_part_of_another_judge(tmp_path, outside, form):
    judge = form.format(tmp_path / "run" / "card.toml")
    text = JUDGE_CARD.format(hub='hub = "somebody/model"', source="")
    refuses_card(write_run(tmp_path, judge=judge), "judge", text, "the model 'somebody/model'")


def refuses_card(path, option, text, words):
    (path / "card.toml").write_text(text)
    run = Run(path)
    options = options_of(run)
    with pytest.raises(RedteamError, match="not used unless you name it yourself") as told:
        allow(run, options)
    assert words in str(told.value)
    assert f"add {option}={options[option]!r}" in str(told.value)
    allow(run, {x: y for x, y in options.items() if x != option})  # he named it himself


@pytest.mark.parametrize(
    ("option", "text"),
    [
        (
            "judge",
            JUDGE_CARD.format(hub='hub = "allenai/wildguard"', source='template = "{prompt}"'),
        ),
        ("judge", JUDGE_CARD.format(hub="", source='template = "{prompt} {response}"')),
        ("eval_suites", SUITE_CARD.format(data='file = "requests.csv"')),
        ("eval_suites", SUITE_CARD.format(data='seeds = "strongreject"')),
    ],
)
def test_a_card_in_a_strangers_run_that_reaches_what_ours_do_is_used(
    tmp_path, outside, option, text
):
    place = tmp_path / "run" / "card.toml"
    write_run(tmp_path, **{option: str(place)})
    place.write_text(text)
    run = Run(tmp_path / "run")
    allow(run, options_of(run))


def test_the_command_asks_for_what_a_strangers_card_names(tmp_path, outside, capsys):
    place = tmp_path / "run" / "card.toml"
    run = write_run(tmp_path, judge=str(place))
    place.write_text(JUDGE_CARD.format(hub='hub = "somebody/model"', source=""))
    played = [x for x in PLAYED if x not in {"--judge", "words"}]
    assert main([*played, "--defender", str(run)]) == 2
    assert f"'{place}' names the model 'somebody/model'" in capsys.readouterr().err
