"""Labelled dialogues: known sets, and files of one's own."""

import json

import pytest

from redteam_env.game import RedteamError
from redteam_env.seeds.labelled import card_named, known_sets, resolve_labels

ROWS = (
    "prompt,response,response_harmful,response_refusal\nHow?,So.,yes,no\n how? ,No.,no,\nWhat?,,,\n"
)


def written(folder, text, name="labels.csv"):
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return str(file)


def labels(found):
    return [dict(row.labels) for row in found.rows]


def test_labels_are_read_from_the_columns_of_their_names(tmp_path):
    found = resolve_labels(written(tmp_path, ROWS))
    assert labels(found) == [
        {"response_refusal": False, "response_harmful": True},
        {"response_harmful": False},
    ]  # a row without any label is left out
    assert found.rows[0].dialogue.response == "So."
    assert found.rows[0].cluster == found.rows[1].cluster
    assert found.name == "labels.csv"


def test_columns_of_other_names_are_named(tmp_path):
    rows = [{"q": "How?", "a": "So.", "said": {"score": 0.5}}, {"q": "x", "a": "y", "said": {}}]
    file = written(tmp_path, "\n".join(map(json.dumps, rows)), "labels.jsonl")
    spec = f"{file}?prompt=q&response=a&response_harmful=said.score&threshold=0.5"
    assert labels(resolve_labels(spec)) == [{"response_harmful": True}]
    assert labels(resolve_labels(spec.replace("0.5", "0.6"))) == [{"response_harmful": False}]


def test_wildguards_words_are_labels(tmp_path):
    text = (
        "prompt,response,prompt_harm_label,response_refusal_label,response_harm_label\n"
        "How?,No.,harmful,refusal,unharmful\nHow?,So.,unharmful,compliance,n/a\n"
    )
    assert labels(resolve_labels(written(tmp_path, text))) == [
        {"prompt_harmful": True, "response_refusal": True, "response_harmful": False},
        {"prompt_harmful": False, "response_refusal": False},
    ]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("prompt,response\na,b\n", "", "no column of labels"),
        ("prompt,response_harmful\na,yes\n", "", "for the response"),
        ("prompt,response,response_harmful\na,b,perhaps\n", "", "row 1.*perhaps.*threshold"),
        ("prompt,response,response_harmful\na,b,0.5\n", "", "0.5"),
        ("prompt,response,response_harmful\na,b,x\n", "?threshold=0.5", "no label"),
        ("prompt,response,response_harmful\na,b,nan\n", "?threshold=nan", "no number"),
        ("prompt,response,response_harmful\na,b,\n", "", "No row"),
        (ROWS, "?harm=x", "harm"),
        (ROWS, "?response_harmful=harm", "harm"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(tmp_path, text, options, message):
    with pytest.raises(RedteamError, match=message) as refused:
        resolve_labels(written(tmp_path, text) + options)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("spec", ["", "pyrit,", "pirit", "absent.csv", "pyrit_harm?threshold=0.2"])
def test_what_is_no_set_is_refused_in_words(spec):
    with pytest.raises(RedteamError):
        resolve_labels(spec)


def test_every_card_can_be_read():
    cards = {name: card_named(name) for name in known_sets()}
    assert {name: card.rows for name, card in cards.items()} == {
        "pyrit_harm": 990,
        "pyrit_objective": 395,
        "pyrit_refusal": 169,
    }
    assert all(len(digest) == 64 for card in cards.values() for digest in card.files.values())


@pytest.mark.registry
def test_the_known_sets_have_as_many_rows_as_their_cards_say():
    for name in known_sets():
        found = resolve_labels(name)
        assert len(found.rows) == card_named(name).rows
        assert {x for row in found.rows for x in row.labels} == {card_named(name).label}
    assert len(resolve_labels("pyrit").rows) == 169 + 990
