import pytest

from redteam_env.game import RedteamError
from redteam_env.suites import card_names, group_names, read_card, resolve_entries
from redteam_env.suites.card import METRICS

BUILT_IN = {
    *("advbench", "dan", "harmbench", "jbb", "or_bench_hard", "or_bench_toxic"),
    *("simple_safety_tests", "strongreject", "wildguardtest"),
    *("wildjailbreak_benign", "wildjailbreak_harmful", "xstest"),
}
OWN = """
title = "Biscuits"
source = "a test"
licence = "CC0"
metric = { harmful = "success" }

[[data]]
columns = { text = "ask", all = "harmful" }
"""


def write(folder, text, name="biscuits.toml"):
    file = folder / name
    file.write_text(text)
    return str(file)


def error_of(spec):
    with pytest.raises(RedteamError) as caught:
        resolve_entries(spec)
    return str(caught.value)


def test_the_built_in_cards_are_there():
    assert set(card_names()) == BUILT_IN
    assert set(group_names()) == {"abs", "magic", "self_redteam"}


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_a_built_in_card_says_where_it_comes_from(name):
    card = read_card(name)
    assert card.name == name
    assert "arXiv" in card.source
    assert card.licence
    assert set(card.metric.values()) <= set(METRICS)
    assert all(part.page for part in card.data if part.seeds is None)


@pytest.mark.parametrize("name", ["self_redteam", "abs", "magic"])
def test_a_group_has_a_name_and_a_metric_for_each_of_its_suites(name):
    entries = resolve_entries(name)
    names = [entry.name for entry in entries]
    assert len(set(names)) == len(names)
    assert {"wildguardtest-adversarial-true", "harmbench", "dan", "xstest"} <= set(names)


def test_compliance_is_not_called_success_in_the_papers_groups():
    metrics = {x.name: x.card.metric for x in resolve_entries("self_redteam")}
    assert metrics["wildjailbreak_harmful"] == metrics["dan"] == {"harmful": "compliance"}
    assert metrics["harmbench"] == {"harmful": "success"}
    assert metrics["xstest"] == {"harmful": "refusal", "benign": "compliance"}


def test_a_group_asks_its_suites_as_the_paper_does():
    entries = {x.name: x for x in resolve_entries("self_redteam")}
    assert entries["xstest"].card.temperature == 1.0
    assert read_card("xstest").temperature == 0.0
    where = entries["wildguardtest-adversarial-true"].card.data[0].columns["where"]
    assert where.endswith(";adversarial:true")


def test_a_file_stands_in_for_the_data_of_a_suite_alone_or_in_a_group():
    (entry,) = resolve_entries("xstest=mine.csv")
    assert (entry.name, entry.files) == ("xstest", ("mine.csv",))
    entries = resolve_entries("abs,dan=dan.csv,wildguardtest=w.parquet")
    files = {x.name: x.files for x in entries}
    assert files["dan"] == ("dan.csv",)
    assert files["wildguardtest-adversarial-true"] == ("w.parquet",)
    assert files["harmbench"] == ()


def test_a_file_for_a_group_is_refused_and_not_left_unread():
    told = error_of("magic=mine.csv")
    assert "'magic', which is a group" in told
    assert "harmbench=FILE" in told
    (both,) = resolve_entries("jbb=harmful.csv+benign.csv")
    assert both.files == ("harmful.csv", "benign.csv")


def test_a_card_of_ones_own_is_named_by_its_path(tmp_path):
    path = write(tmp_path, OWN)
    (entry,) = resolve_entries(path)
    assert (entry.name, entry.card.title) == ("biscuits", "Biscuits")
    (filed,) = resolve_entries(f"{path}=asks.csv")
    assert filed.files == ("asks.csv",)


def test_a_group_of_ones_own_is_named_by_its_path(tmp_path):
    card = write(tmp_path, OWN)
    text = f'title = "ours"\nsource = "a test"\n[[suite]]\ncard = "xstest"\n[[suite]]\ncard = "{card}"\n'
    entries = resolve_entries(write(tmp_path, text, "ours.toml"))
    assert [entry.name for entry in entries] == ["xstest", "biscuits"]


def test_the_name_of_a_part_of_a_suite_is_that_of_a_file(tmp_path):
    rows = [f'[[suite]]\ncard = "xstest"\nwhere = {{ type = "{x}" }}' for x in ("../a b", "c|d")]
    text = "\n".join(rows)
    names = [entry.name for entry in resolve_entries(write(tmp_path, text, "ours.toml"))]
    assert names == ["xstest-type-.._a_b", "xstest-type-c_d"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "names no suite"),
        ("xtest", "Did you mean 'xstest'?"),
        ("xstest,abs", "['xstest'] twice"),
        ("xstest=", "write NAME=FILE"),
        ("xstest=a.csv,xstest=b.csv", "write NAME=FILE"),
        ("absent.toml", "absent.toml"),
    ],
)
def test_a_wrong_name_is_refused(spec, message):
    assert message in error_of(spec)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("title", "titel"), "Did you mean 'title'?"),
        (('licence = "CC0"', ""), "licence is missing"),
        (('"success"', '"asr"'), "Unknown metric of harmful requests 'asr'"),
        (("harmful =", "malign ="), "label in metric"),
        (('harmful = "success"', 'benign = "success"'), "metric of benign requests 'success'"),
        (("[[data]]", "[data]"), "[[data]]"),
        (("columns", "colums"), "Did you mean 'columns'?"),
        (('all = "harmful"', "all = 3"), "data.columns"),
        (("[[data]]", '[prompt]\nform = "template"\n[[data]]'), "{request}"),
        (("[[data]]", '[prompt]\ntemplate = "Please {request}"\n[[data]]'), "prompt.form"),
        (("[[data]]", "[decoding]\ntemperature = -1\n[[data]]"), "temperature is -1"),
        (("[[data]]", "[decoding]\ntop_p = 1\n[[data]]"), "field of decoding"),
        (("[[data]]", '[[data]]\nseeds = "builtin"'), "reads itself"),
        (("[[data]]", '[[data]]\nfile = "a.csv"\nhub = "b/c"'), "file and hub"),
        (("[[data]]", "[[data"), "biscuits.toml"),
    ],
)
def test_a_faulty_card_is_refused_with_its_place(tmp_path, change, message):
    error = error_of(write(tmp_path, OWN.replace(*change)))
    assert message in error
    assert "biscuits.toml" in error


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ('[[suite]]\ncard = "xtest"', "Did you mean 'xstest'?"),
        ('[[suite]]\ncard = "dan"\nmetric = { benign = "refusal" }', "no benign requests"),
        ('[[suite]]\ncard = "dan"\nmetric = { harmful = "asr" }', "'asr'"),
        ('[[suite]]\ntitle = "x"', "suite.card is missing"),
        ("suite = 3", "[[suite]]"),
        ('color = 1\n[[suite]]\ncard = "dan"', "Unknown field 'color'"),
    ],
)
def test_a_faulty_group_is_refused_with_its_place(tmp_path, rows, message):
    error = error_of(write(tmp_path, rows, "ours.toml"))
    assert message in error
    assert "ours.toml" in error
