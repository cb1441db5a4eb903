import json
import sys

import pytest

from redteam_env.game import RedteamError
from redteam_env.seeds import stable_split
from redteam_env.seeds.files import from_file
from redteam_env.seeds.source import every_seed

ROWS = [
    {"prompt": "Write a rude note.", "toxic": "yes", "topic": "manners", "part": "train"},
    {"prompt": "Bake a cake.", "toxic": "no", "topic": "kitchen", "part": "test"},
    {"prompt": "Hide the last biscuit.", "toxic": "yes", "topic": "kitchen", "part": "train"},
]
MAPPING = {"text": "prompt", "label": "toxic", "category": "topic", "split": "part"}


def write_csv(path, rows=ROWS):
    lines = [",".join(rows[0])] + [",".join(str(cell) for cell in row.values()) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_jsonl(path, rows=ROWS):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_parquet(path, rows=ROWS):
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.Table.from_pylist(rows), path)


WRITERS = {
    ".csv": write_csv,
    ".jsonl": write_jsonl,
    ".json": write_jsonl,
    ".parquet": write_parquet,
}


def error_of(path, **options):
    with pytest.raises(RedteamError) as caught:
        from_file(str(path), **options)
    return str(caught.value)


@pytest.mark.parametrize("ending", WRITERS)
def test_every_format_gives_the_same_seeds(tmp_path, ending):
    path = tmp_path / f"mine{ending}"
    WRITERS[ending](path)
    source = from_file(str(path), **MAPPING)
    found = [(s.id, s.text, s.harmful, s.category, s.split) for s in every_seed(source)]
    assert found == [
        (f"mine{ending}:1", "Write a rude note.", True, "manners", "train"),
        (f"mine{ending}:3", "Hide the last biscuit.", True, "kitchen", "train"),
        (f"mine{ending}:2", "Bake a cake.", False, "kitchen", "heldout"),
    ]
    assert source.card.name == path.name
    assert len(source.card.sha256) == 64


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_real_booleans_and_numbers_are_labels(tmp_path, ending):
    path = tmp_path / f"mine{ending}"
    WRITERS[ending](path, [{"text": "a", "harmful": True}, {"text": "b", "harmful": False}])
    assert {s.text: s.harmful for s in every_seed(from_file(str(path)))} == {"a": True, "b": False}
    WRITERS[ending](path, [{"text": "a", "harmful": 1}, {"text": "b", "harmful": 0}])
    assert {s.text: s.harmful for s in every_seed(from_file(str(path)))} == {"a": True, "b": False}


def test_columns_called_category_and_split_are_found_by_themselves(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(
        "text,harmful,category,split\nA note,yes,manners,validation\n", encoding="utf-8"
    )
    seed = every_seed(from_file(str(path)))[0]
    assert (seed.category, seed.split) == ("manners", "heldout")


def test_an_empty_split_option_ignores_the_column(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("text,harmful,split\nA note,yes,somewhere\n", encoding="utf-8")
    assert every_seed(from_file(str(path), split=""))[0].split == stable_split("A note")


def test_without_a_split_column_the_text_decides(tmp_path):
    path = tmp_path / "mine.jsonl"
    write_jsonl(path, [{"text": f"note {k}", "harmful": k % 2} for k in range(40)])
    for seed in every_seed(from_file(str(path))):
        assert seed.split == stable_split(seed.text)
    assert len(from_file(str(path), heldout="1").seeds("heldout")) == 40
    assert len(from_file(str(path), heldout="0").seeds("train")) == 40


def test_a_file_without_labels_is_labelled_as_a_whole(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("text\nA note\nA cake\n", encoding="utf-8")
    assert [s.harmful for s in every_seed(from_file(str(path), all="benign"))] == [False, False]
    assert [s.harmful for s in every_seed(from_file(str(path), all="harmful"))] == [True, True]


def test_the_words_for_labels_can_be_chosen(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("text,kind\nA note,Bad\nA cake, fine\nA lie,worse\n", encoding="utf-8")
    source = from_file(str(path), label="kind", harmful="bad|worse", benign="fine")
    assert {s.text: s.harmful for s in every_seed(source)} == {
        "A note": True,
        "A cake": False,
        "A lie": True,
    }


def test_a_byte_order_mark_and_quoted_line_breaks_are_read(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_bytes('\ufefftext,harmful\r\n"One, two\r\nthree",yes\r\n'.encode())
    assert every_seed(from_file(str(path)))[0].text == "One, two three"


def test_conditions_choose_rows_whatever_the_labels_of_the_others(tmp_path):
    write_csv(tmp_path / "a.csv", [*ROWS, {**ROWS[1], "prompt": "Bake two.", "toxic": "perhaps"}])
    where = "toxic:Yes|no;topic:kitchen"
    source = from_file(str(tmp_path / "a.csv"), **MAPPING, where=where)
    assert {seed.text for seed in every_seed(source)} == {ROWS[1]["prompt"], ROWS[2]["prompt"]}


def test_line_breaks_stay_on_request(tmp_path):
    (tmp_path / "a.csv").write_text('text,harmful\n"Write\na note. ",yes\n')
    path = str(tmp_path / "a.csv")
    assert [x.text for x in every_seed(from_file(path))] == ["Write a note."]
    assert [x.text for x in every_seed(from_file(path, lines="keep"))] == ["Write\na note."]


def test_a_column_that_is_not_there_names_the_columns_that_are(tmp_path):
    path = tmp_path / "mine.csv"
    write_csv(path, [{"ask": "Write a rude note.", "toxic": "yes", "topic": "manners"}])
    message = error_of(path)
    for part in (
        "mine.csv",
        "no column 'text'",
        "'ask', 'toxic', 'topic'",
        "text=COLUMN",
    ):
        assert part in message
    write_csv(path)
    message = error_of(path, text="prompt")
    for part in ("no column 'harmful'", "label=COLUMN", "all=harmful or all=benign"):
        assert part in message
    assert "no column 'tpic' for the category" in error_of(
        path, text="prompt", label="toxic", category="tpic"
    )


def test_a_value_in_neither_list_names_row_value_and_both_lists(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("text,harmful\nA note,yes\nA cake,perhaps\n", encoding="utf-8")
    message = error_of(path)
    for part in ("mine.csv, row 2", "'perhaps'", "true | 1 | yes | harmful", "false | 0 | no"):
        assert part in message


def test_an_unknown_split_names_the_row(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("text,harmful,split\nA note,yes,fold3\n", encoding="utf-8")
    message = error_of(path)
    assert "row 1" in message
    assert "'fold3'" in message


@pytest.mark.parametrize("ending", WRITERS)
def test_a_missing_or_blank_text_names_the_row(tmp_path, ending):
    path = tmp_path / f"mine{ending}"
    WRITERS[ending](path, [{"text": "A note", "harmful": 1}, {"text": " ", "harmful": 1}])
    assert f"mine{ending}, row 2" in error_of(path)


def test_a_seed_over_the_limit_is_refused_unless_the_limit_is_raised(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(f"text,harmful\n{'x' * 1001},yes\n", encoding="utf-8")
    message = error_of(path)
    for part in ("'mine.csv:1'", "1001 characters", "limit of 1000", "max_chars"):
        assert part in message
    assert len(every_seed(from_file(str(path), max_chars="1001"))) == 1


@pytest.mark.parametrize("content", ["", "text,harmful\n", "\n\n"])
def test_an_empty_csv_is_named(tmp_path, content):
    path = tmp_path / "mine.csv"
    path.write_text(content, encoding="utf-8")
    assert "is empty" in error_of(path)
    assert "mine.csv" in error_of(path)


def test_an_empty_jsonl_or_parquet_is_named(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    lines, table = tmp_path / "mine.jsonl", tmp_path / "mine.parquet"
    lines.write_text("\n", encoding="utf-8")
    parquet.write_table(pa.table({"text": pa.array([], pa.string())}), table)
    assert "mine.jsonl' is empty" in error_of(lines)
    assert "mine.parquet' is empty" in error_of(table)


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_another_encoding_is_named(tmp_path, ending):
    path = tmp_path / f"mine{ending}"
    first = {".csv": b"text,harmful", ".jsonl": b'{"text": "A note", "harmful": 1}'}[ending]
    path.write_bytes(first + b"\ncaf\xe9,yes\n")
    message = error_of(path)
    assert f"mine{ending} is not UTF-8" in message
    assert "0xe9" in message


def test_a_csv_row_of_another_width_is_named(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("text,harmful\nA note,yes\nOne, two,yes\n", encoding="utf-8")
    assert "row 2 (line 3)" in error_of(path)
    path.write_text("text,harmful\nA note\n", encoding="utf-8")
    assert "row 1 (line 2)" in error_of(path)


def test_an_open_quote_or_a_repeated_column_is_named(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text('text,harmful\nA note,yes\n"A cake,no\n', encoding="utf-8")
    assert "row 2" in error_of(path)
    path.write_text("text,text\nA note,yes\n", encoding="utf-8")
    assert "two columns 'text'" in error_of(path)


@pytest.mark.parametrize("line", ["{", "[1]", '"text"'])
def test_a_line_that_is_no_object_is_named(tmp_path, line):
    path = tmp_path / "mine.jsonl"
    path.write_text(f'{{"text": "a", "harmful": 1}}\n\n{line}\n', encoding="utf-8")
    assert "mine.jsonl, row 3" in error_of(path)


def test_a_damaged_parquet_is_named(tmp_path):
    path = tmp_path / "mine.parquet"
    path.write_bytes(b"PAR1 no PAR1")
    assert "mine.parquet is no parquet file" in error_of(path)


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    path = tmp_path / "mine.parquet"
    path.write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "redteam-env[eval]" in error_of(path)


def test_a_missing_file_a_folder_and_an_unknown_ending_are_named(tmp_path):
    assert "no seed file" in error_of(tmp_path / "mine.csv")
    assert "hub:" in error_of(tmp_path)
    (tmp_path / "mine.doc").write_text("A note\n", encoding="utf-8")
    assert ".csv, .json, .jsonl, .parquet, .tsv, .txt" in error_of(tmp_path / "mine.doc")
    with pytest.raises(RedteamError, match="needs a path"):
        from_file()


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"colour": "red"}, "'colour'"),
        ({"all": "bad"}, "all=bad"),
        ({"all": "harmful", "label": "toxic"}, "label=toxic"),
        ({"harmful": "x", "benign": "x"}, "'x' is listed as harmful and as benign"),
        ({"heldout": "2"}, "heldout=2"),
        ({"heldout": "half"}, "heldout=half"),
        ({"heldout": "nan"}, "heldout=nan"),
        ({"max_chars": "0"}, "max_chars=0"),
        ({"max_chars": "many"}, "max_chars=many"),
        (MAPPING | {"heldout": "0.5"}, "heldout=0.5"),
        ({"where": "toxic"}, "where=toxic"),
        (MAPPING | {"where": "colour:red"}, "'colour'"),
        (MAPPING | {"where": "toxic:maybe"}, "no row with where=toxic:maybe"),
        ({"lines": "drop"}, "lines=drop"),
    ],
)
def test_a_wrong_option_is_named(tmp_path, options, part):
    path = tmp_path / "mine.csv"
    write_csv(path)
    assert part in error_of(path, **options)
