import json

import pytest
import torch

pytest.importorskip("lm_eval")

import datasets

from agents.capability import PAPERS, Harness, task_names
from redteam_env.cli.main import main
from redteam_env.evaluation.statistics import wilson
from redteam_env.game import RedteamError

CHOICE = """
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {rows}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
{more}metadata:
  version: 1.0
"""
MORE = """  - metric: brier_score
    higher_is_better: false
  - metric: mcc
    higher_is_better: true
"""
GROUP = """
group: both
task: [letters, numbers]
aggregate_metric_list:
  - metric: acc
    weight_by_size: true
"""
ROWS = [
    {"question": f"question {k}?", "choices": [f" a{k}", f" b{k}", f" c{k}"], "answer": k % 3}
    for k in range(12)
]


@pytest.fixture
def include(tmp_path, monkeypatch):
    """A folder with tasks of local data."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    folder = tmp_path / "tasks"
    folder.mkdir()
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    for name in ("letters", "numbers"):
        (folder / f"{name}.yaml").write_text(CHOICE.format(name=name, rows=rows, more=""))
    graded = CHOICE.format(name="graded", rows=rows, more=MORE)
    (folder / "graded.yaml").write_text(graded)
    (folder / "both.yaml").write_text(GROUP)
    absent = CHOICE.format(name="absent", rows=tmp_path / "absent.jsonl", more="")
    (folder / "absent.yaml").write_text(absent)
    return folder


@pytest.fixture
def harness(include):
    return Harness(include, builtin=False)


def likeliest(policy, row):
    """The place of the choice that the defender's weights find likeliest, by one plain pass each."""
    sums = []
    tokenizer = policy.store.base.tokenizer
    with policy.store.using(policy.weights_of("defender")) as model, torch.no_grad():
        for choice in row["choices"]:
            prompt = tokenizer(row["question"])["input_ids"]
            ids = tokenizer(row["question"] + choice)["input_ids"]
            logprobs = model(torch.tensor([ids])).logits.log_softmax(-1)[0]
            places = range(len(prompt), len(ids))
            sums.append(sum(float(logprobs[k - 1, ids[k]]) for k in places))
    return max(range(len(sums)), key=sums.__getitem__)


def moved(policy, weights, scale):
    """Give an adapter weights that matter."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in policy.parameters(weights):
            tensor.add_(scale * torch.randn(tensor.shape, generator=generator))


def test_a_task_is_answered_by_the_adapter_that_is_named(make_policy, harness):
    policy = make_policy()
    moved(policy, policy.weights_of("defender"), 0.3)
    before = {x: y.clone() for x, y in policy.store.base.model.state_dict().items()}
    (own,) = harness.measure(policy.store, policy.weights_of("defender"), "letters")
    right = sum(likeliest(policy, row) == row["answer"] for row in ROWS)
    assert (own.task, own.metric, own.questions) == ("letters", "acc", 12)
    assert own.value == pytest.approx(right / 12)
    assert own.interval.low <= own.value <= own.interval.high
    after = policy.store.base.model.state_dict()
    assert all(torch.equal(before[x], after[x]) for x in before)


def test_only_shares_of_right_answers_have_wilsons_interval(make_policy, harness):
    policy = make_policy()
    scores = harness.measure(policy.store, policy.weights_of("defender"), "graded")
    found = {score.metric: score for score in scores}
    share = found["acc"]
    assert share.interval == wilson(round(12 * share.value), 12)
    assert found["brier_score"].interval is None  # between 0 and 1, too; lm-eval gives it no error
    correlation = found["mcc"]
    assert correlation.interval.low < correlation.value < correlation.interval.high
    assert correlation.interval != wilson(round(12 * abs(correlation.value)), 12)


def test_the_accuracy_of_probabilities_is_no_share(monkeypatch, make_policy, harness):
    import lm_eval

    def answer(row):
        results = {"results": {"letters": {"sample_len": 12, **row}}}
        monkeypatch.setattr(lm_eval, "simple_evaluate", lambda *_, **__: results)
        (score,) = harness.measure(policy.store, policy.weights_of("defender"), "letters")
        return score.interval

    policy = make_policy()
    half = (0.25 / 11) ** 0.5  # the error of six zeros and six ones
    assert answer({"acc,none": 0.5, "acc_stderr,none": half}) == wilson(6, 12)
    spread = answer({"acc,none": 0.5, "acc_stderr,none": 0.02})
    assert (spread.low, spread.high) == pytest.approx((0.4608, 0.5392), abs=1e-4)
    assert answer({"f1,none": 0.5, "f1_stderr,none": "N/A"}) is None
    assert answer({"word_perplexity,none": 20.0, "word_perplexity_stderr,none": 2.0}).high > 23


def test_whole_models_are_asked_too(make_policy, harness):
    policy = make_policy("shared_full")
    (score,) = harness.measure(policy.store, policy.weights_of("defender"), "letters", limit=3)
    assert score.questions == 3


def test_a_group_has_the_score_of_all_its_questions(make_policy, harness):
    policy = make_policy()
    scores = harness.measure(policy.store, policy.weights_of("defender"), "both")
    assert [(x.task, x.metric, x.questions) for x in scores] == [("both", "acc", 24)]


def test_the_papers_tasks_are_a_group():
    assert task_names(["papers", "gsm8k", "mine"]) == [*PAPERS, "mine"]


def test_unknown_tasks_and_absent_data_are_refused(make_policy, harness):
    with pytest.raises(RedteamError, match=r"Unknown task 'leters'. Alike: letters"):
        harness.check(["letters", "leters"])
    policy = make_policy()
    with pytest.raises(RedteamError, match=r"'absent' cannot be asked .*--include"):
        harness.measure(policy.store, policy.weights_of("defender"), "absent")


def test_the_command_asks_stores_and_goes_on(tiny_model, include, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["capability", str(tiny_model), "--include", str(include), "--only-included"]
    stored = [*arguments, "--out", str(out), "--json"]
    assert main([*stored, "--tasks", "letters"]) == 0
    (first,) = json.loads(capsys.readouterr().out)
    assert first["questions"] == 12
    (include / "letters.yaml").unlink()
    (include / "both.yaml").unlink()
    assert main([*stored, "--tasks", "letters,numbers"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["task"] for row in rows] == ["letters", "numbers"]
    assert rows[0] == first
    assert main([*stored, "--tasks", "letters", "--limit", "2"]) == 2
    assert "other settings (limit)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["refuse", "--tasks", "letters"], "no model in this process"),
        (["refuse", "--tasks", ","], "names no task"),
        (["refuse", "--tasks", "leters"], "Alike: letters"),
    ],
)
def test_a_wrong_value_is_one_line(arguments, message, include, capsys):
    assert main(["capability", *arguments, "--include", str(include), "--only-included"]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
