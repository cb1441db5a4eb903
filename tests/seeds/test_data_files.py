"""Data files as people have them; the files of reported cases are in ``cases/``."""

import csv
import gzip
import json
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redteam_env.game import RedteamError
from redteam_env.randomness import generator
from redteam_env.seeds import resolve_seeds
from redteam_env.seeds.files import FILE_ENDINGS, from_file
from redteam_env.seeds.source import every_seed

CASES = Path(__file__).parent / "cases"
VERL = {"data_source": "s", "prompt": [{"role": "user", "content": "A note"}]}
LOCK = {"Explain how to pick a lock": True, "Explain how locks work": False}


def labels(spec):
    return {seed.text: seed.harmful for seed in every_seed(resolve_seeds(str(spec)))}


def error_of(spec):
    with pytest.raises(RedteamError) as caught:
        resolve_seeds(str(spec))
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("query", ["layout=harmbench", "text=Behavior&all=harmful", "all=harmful"])
def test_case_39_contexts_are_joined_to_their_requests(query):
    source = resolve_seeds(f"{CASES / 'harmbench.csv'}?{query}")
    assert {seed.text for seed in every_seed(source)} == {
        "Explain how to pick a lock",
        "Dear neighbour, the bakery on the corner was seen --- Given the context, continue the letter",
        "To the editor: the mayor has been caught --- Given the context, continue the letter",
        "Give me the first chapter of a famous novel",
    }
    assert source.duplicates == 0
    assert all(seed.harmful for seed in every_seed(source))


def test_a_context_is_left_out_where_the_user_says_so():
    source = resolve_seeds(f"{CASES / 'harmbench.csv'}?all=harmful&context=")
    assert source.duplicates == 1
    assert "'Given'" in error_of(f"{CASES / 'harmbench.csv'}?all=harmful&context=Given")


def test_case_40_a_json_array_is_read():
    assert labels(CASES / "array.json") == LOCK


def test_case_41_nested_json_is_read_by_a_path():
    file = CASES / "jbb_artifact.json"
    found = labels(f"{file}?rows=jailbreaks&text=goal&all=harmful")
    assert found == {"Explain how to pick a lock": True}
    assert f"'{file}?rows=jailbreaks'" in error_of(file)
    message = error_of(f"{file}?rows=jailbreaks")
    assert f"'{file}?rows=jailbreaks&text=goal&all=harmful'" in message
    assert "stand under jailbreaks" in error_of(f"{file}?rows=jailbreak&all=harmful")


def test_a_path_goes_through_objects_and_lists(tmp_path):
    file = tmp_path / "deep.json"
    file.write_text(json.dumps({"a": [{"b": []}, {"b": [{"text": "A note", "harmful": 1}]}]}))
    assert labels(f"{file}?rows=a.1.b") == {"A note": True}
    assert "is empty" in error_of(f"{file}?rows=a.0.b")
    assert "no list of rows under 'a.7'" in error_of(f"{file}?rows=a.7")


def test_case_42_semicolons():
    assert labels(CASES / "semi.csv") == LOCK


@pytest.mark.parametrize("ending", ["csv", "tsv", "csv.gz"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_separator_is_found_though_cells_hold_others(tmp_path, delimiter, ending):
    rows = ["text", "harmful"], ['"One, two; three\tfour"', "yes"], ["A cake", "no"]
    text = "".join(f"{delimiter.join(row)}\r\n" for row in rows).encode()
    file = tmp_path / f"mine.{ending}"
    file.write_bytes(gzip.compress(text) if ending.endswith("gz") else text)
    assert labels(file) == {"One, two; three four": True, "A cake": False}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (
            "text;harmful\nOne, two, three;1\nFour, five;0\n",
            {"One, two, three": 1, "Four, five": 0},
        ),
        ("text,harmful\nOne; two; three,1\n", {"One; two; three": 1}),
        ("sep=;\ntext;harmful\nOne, two;1\n", {"One, two": 1}),
        ("text\tharmful\nOne, two; three\t1\n", {"One, two; three": 1}),
        ("text,harmful\rA note,1\rA cake,0\r", {"A note": 1, "A cake": 0}),
        ("\ufeff text , Harmful\nA note,1\n", {"A note": 1}),
        ("text,harmful,,\nA note,1,,\n", {"A note": 1}),
        ('text,harmful\n"' + "a\n" * 60 + '",1\n', {" ".join("a" * 60): 1}),
    ],
)
def test_tables_as_spreadsheets_write_them(tmp_path, content, found):
    file = tmp_path / "mine.csv"
    file.write_bytes(content.encode())
    assert labels(file) == found


def test_case_44_a_long_unrelated_column(tmp_path):
    file = tmp_path / "long.csv"
    file.write_text(f"text,harmful,page\nA note,1,{'x' * 200_000}\n")
    assert labels(file) == {"A note": True}


def test_case_45_the_last_message_of_the_user_is_the_request(tmp_path):
    assert labels(CASES / "chat.jsonl") == LOCK
    turns = [("human", "Hello"), ("gpt", "Hi"), ("human", "Bake a cake"), ("gpt", "")]
    row = {"conversations": [{"from": x, "value": y} for x, y in turns], "harmful": False}
    file = tmp_path / "mine.jsonl"
    file.write_text(json.dumps(row))
    assert labels(file) == {"Bake a cake": False}
    parts = [
        {"type": "text", "text": "Bake"},
        {"type": "image"},
        {"type": "text", "text": "a cake"},
    ]
    file.write_text(json.dumps({"prompt": [{"role": "user", "content": parts}], "harmful": 0}))
    assert labels(file) == {"Bake a cake": False}
    file.write_text(json.dumps({"prompt": [{"role": "system", "content": "x"}], "harmful": 0}))
    assert "row 1" in error_of(file)
    assert "message of the user" in error_of(file)


@pytest.mark.parametrize(
    "column", ["prompt", "goal", "Behavior", "behavior", "question", "Instruction"]
)
def test_the_column_of_requests_is_recognised(tmp_path, column):
    file = tmp_path / "mine.csv"
    file.write_text(f"id,{column},harmful\n1,A note,1\n")
    assert labels(file) == {"A note": True}


def test_several_columns_of_requests_are_not_chosen_from(tmp_path):
    file = tmp_path / "p.csv"
    file.write_text("goal,prompt\nA note,1\n")
    message = error_of(file)
    assert "'goal', 'prompt'" in message
    assert f"'{file}?text=goal&all=harmful'" in message


def test_messages_that_were_written_into_a_table_are_read_and_no_text_is(tmp_path):
    file = tmp_path / "mine.csv"
    rows = {"prompt": ['[{"role": "user", "content": "Hi"}]', '[{"a": 1}] is a list']}
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([["prompt"], *([x] for x in rows["prompt"])])
    assert labels(f"{file}?all=harmful") == {"Hi": True, '[{"a": 1}] is a list': True}
    file.write_text("prompt\n\"[{'role': 'user', 'content': 'Hi'}]\"\n")
    with pytest.raises(RedteamError, match="a list of messages; write it as JSON"):
        labels(f"{file}?all=harmful")


@pytest.mark.parametrize(("ending", "text"), [("json", '["Hi", "Ho"]'), ("jsonl", '"Hi"\n"Ho"\n')])
def test_a_list_of_texts_is_one_of_requests(tmp_path, ending, text):
    file = tmp_path / f"mine.{ending}"
    file.write_text(text)
    assert labels(f"{file}?all=benign") == {"Hi": False, "Ho": False}


def test_two_columns_of_one_name_are_named_in_parquet_too(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    file = tmp_path / "mine.parquet"
    arrays = [pa.array(["a"]), pa.array(["b"])]
    parquet.write_table(pa.Table.from_arrays(arrays, names=["text", "text"]), file)
    with pytest.raises(RedteamError, match="two columns 'text'"):
        labels(f"{file}?all=harmful")


def test_a_text_file_has_one_request_a_line(tmp_path):
    file = tmp_path / "mine.txt.gz"
    file.write_bytes(gzip.compress(b"A note\r\n\r\nA cake\n"))
    assert labels(f"{file}?all=benign") == {"A note": False, "A cake": False}
    assert f"'{file}?all=harmful'" in error_of(file)


def test_what_lacks_labels_says_how_to_write_it(tmp_path):
    file = tmp_path / "p.csv"
    file.write_text("goal,target\nA note,Sure\n")
    assert f"'{file}?text=goal&all=harmful'" in error_of(file)
    assert f"'{CASES / 'harmbench.csv'}?layout=harmbench'" in error_of(CASES / "harmbench.csv")


def test_what_lacks_a_split_says_how_to_write_it(tmp_path):
    file = tmp_path / "p.txt"
    file.write_text("A note\n")
    source = resolve_seeds(f"{file}?all=harmful&heldout=0")
    with pytest.raises(RedteamError) as caught:
        source.draw(1, generator((0,)), harmful=True, split="heldout")
    assert f"'{file}?all=harmful&heldout=0.5'" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        (
            "harmful-behaviors.csv?layout=jailbreakbench",
            "Index,Goal,Target,Behavior,Category,Source\n0,A note,Sure,Notes,Letters,Original\n",
            ("A note", True, "Letters"),
        ),
        (
            "benign-behaviors.csv?layout=jailbreakbench",
            "Index,Goal,Target,Behavior,Category,Source\n0,A cake,Sure,Cakes,Letters,Original\n",
            ("A cake", False, "Letters"),
        ),
        (
            "xstest_prompts.csv?layout=xstest",
            "id,prompt,type,label,focus,note\n1,A note,homonyms,safe,note,x\n",
            ("A note", False, "homonyms"),
        ),
        (
            "or-bench-toxic.csv?layout=or-bench",
            "prompt,category\nA note,privacy\n",
            ("A note", True, "privacy"),
        ),
        (
            "or-bench-hard-1k.csv?layout=or-bench",
            "prompt,category\nA note,privacy\n",
            ("A note", False, "privacy"),
        ),
        (
            "mine.csv?layout=or-bench&all=benign&category=topic",
            "prompt,topic\nA note,privacy\n",
            ("A note", False, "privacy"),
        ),
        (
            "train.jsonl?layout=verl",
            json.dumps({**VERL, "reward_model": {"style": "rule", "ground_truth": "harmful"}}),
            ("A note", True, "s"),
        ),
        (
            "train.jsonl?layout=verl&all=benign",
            json.dumps(VERL),
            ("A note", False, "s"),
        ),
    ],
)
def test_published_layouts_are_known(tmp_path, name, content, found):
    (tmp_path / name.partition("?")[0]).write_text(content)
    seed = every_seed(resolve_seeds(f"{tmp_path / name}"))[0]
    assert (seed.text, seed.harmful, seed.category) == found


def test_a_verl_table_is_read_from_parquet(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    prompt = [{"role": "system", "content": "Be kind"}, {"role": "user", "content": "A note"}]
    row = {"data_source": "s", "prompt": prompt, "reward_model": {"ground_truth": "1"}}
    parquet.write_table(pa.Table.from_pylist([row]), tmp_path / "train.parquet")
    assert labels(f"{tmp_path / 'train.parquet'}?layout=verl") == {"A note": True}


def test_a_layout_that_cannot_tell_labels_or_is_unknown_is_named(tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("prompt,category\nA note,x\n")
    assert "all=harmful" in error_of(f"{file}?layout=or-bench")
    assert "or-bench" in error_of(f"{file}?layout=orbench")
    assert "leave it out" in error_of(f"{file}?rows=a").lower()


DEEP = '{"text": ' + "[" * 10_000 + "]" * 10_000 + "}"
LONG = f'{{"text": "A note", "harmful": {"1" * 5_000}}}'


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".jsonl.gz", ".json.gz"])
@pytest.mark.parametrize(("line", "part"), [(DEEP, "nested 10001 deep"), (LONG, "5000 digits")])
def test_case_a6_seeds_out_of_bounds_are_one_line(tmp_path, ending, line, part):
    file = tmp_path / f"mine{ending}"
    file.write_bytes(gzip.compress(line.encode()) if ending.endswith("gz") else line.encode())
    assert part in error_of(file)
    assert "mine.json" in error_of(file)


def test_a_file_that_is_no_gzip_or_was_cut_is_named(tmp_path):
    file = tmp_path / "mine.csv.gz"
    file.write_bytes(b"text,harmful\nA note,1\n")
    assert "mine.csv.gz cannot be unpacked" in error_of(file)
    file.write_bytes(gzip.compress(b"text,harmful\nA note,1\n" * 50)[:-12])
    assert "mine.csv.gz cannot be unpacked" in error_of(file)


CELLS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x, max_size=3),
    max_leaves=8,
)
ROWS = st.dictionaries(
    st.sampled_from(["text", "prompt", "harmful", "category", "split", "context", "x", ""]), CELLS
)
JSON = (CELLS | ROWS | st.lists(ROWS, max_size=3)).map(json.dumps)
CSV = st.text(alphabet='text,harmful;\t"\r\n\\1é\0 ', max_size=80).map("text,harmful\n".__add__)
CONTENTS = st.one_of(
    st.binary(max_size=60),
    JSON.map(str.encode),
    st.lists(JSON, max_size=3).map("\n".join).map(str.encode),
    CSV.map(str.encode),
    st.binary(max_size=30).map(lambda x: b"PAR1" + x + b"PAR1"),
)
QUERIES = st.dictionaries(
    st.sampled_from(
        ["text", "label", "all", "rows", "layout", "context", "split", "heldout", "max_chars"]
    ),
    st.sampled_from(["", "text", "harmful", "a.b", "x", "harmbench", "verl", "0.5", "9"])
    | st.text(max_size=8),
    max_size=3,
)


@pytest.mark.parametrize("ending", FILE_ENDINGS)
@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(content=CONTENTS, options=QUERIES)
def test_any_file_gives_seeds_or_a_named_error(tmp_path, ending, content, options):
    file = tmp_path / f"mine{ending}"
    file.write_bytes(gzip.compress(content) if ending.endswith("gz") else content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of texts with both labels
        source = error = None
        try:
            source = from_file(str(file), **options)
        except RedteamError as refusal:
            error = str(refusal)
    assert every_seed(source) if source else "\n" not in error
