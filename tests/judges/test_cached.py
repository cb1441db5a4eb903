"""A judge that remembers, and the file that it remembers in."""

import pickle
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from redteam_env.game import ATTACKER, DEFENDER, Dialogue, Line, RedteamError, Seed, Verdict
from redteam_env.judges import cached, resolve_judge


def dialogues(count, word="hello"):
    return [
        Dialogue(lines=(Line(seat=ATTACKER, text=f"{word} {k}"), Line(seat=DEFENDER, text="yes")))
        for k in range(count)
    ]


class Counting:
    """Counts the dialogues it is asked about; fails on the first ones if told so."""

    smoke_only = False

    def __init__(self, revision="1", failures=0, name="counting", template_sha256=""):
        self.name, self.revision, self.template_sha256 = name, revision, template_sha256
        self.asked, self.failures = 0, failures

    def judge(self, dialogues):
        self.asked += len(dialogues)
        if self.failures:
            self.failures -= 1
            return [Verdict(judge=self.name, error="timed_out")] * len(dialogues)
        return [
            Verdict(
                prompt_harmful=x.prompt.endswith("1"),
                response_refusal=None,
                response_harmful=False,
                probabilities={"prompt_harmful": 0.25},
                raw="é\N{SNOWMAN}",
                judge=self.name,
            )
            for x in dialogues
        ]


def test_a_dialogue_is_asked_about_once(tmp_path):
    file = tmp_path / "store"
    inner = Counting()
    judge = cached(inner, file=file)
    first = judge.judge([*dialogues(3), *dialogues(3)])
    again = cached(Counting(), file=file)
    assert first == again.judge([*dialogues(3), *dialogues(3)]) == inner.judge([*dialogues(3)]) * 2
    assert (judge.counts, again.counts) == ({"found": 3, "asked": 3}, {"found": 6, "asked": 0})
    assert again.inner.asked == 0


@pytest.mark.parametrize(
    "other",
    [{"revision": "2"}, {"name": "other"}, {"template_sha256": "ab"}],
    ids=["revision", "name", "template"],
)
def test_another_judge_has_verdicts_of_its_own(tmp_path, other):
    cached(Counting(), file=tmp_path / "store").judge(dialogues(2))
    judge = cached(Counting(**other), file=tmp_path / "store")
    judge.judge(dialogues(2))
    assert judge.inner.asked == 2


def test_failures_are_asked_about_again(tmp_path):
    judge = cached(Counting(failures=1), file=tmp_path / "store")
    assert all(x.error for x in judge.judge(dialogues(2)))
    assert not any(x.error for x in judge.judge(dialogues(2)))
    assert judge.inner.asked == 4


def test_a_judge_that_does_not_say_its_revision_is_not_remembered(tmp_path):
    with pytest.raises(RedteamError, match="revision"):
        cached(Counting(revision=""), file=tmp_path / "store")
    with pytest.raises(RedteamError, match="revision"):  # its prompt does not tell its model
        cached(Counting(revision="", template_sha256="ab"), file=tmp_path / "store")


@pytest.mark.parametrize("spec", ["seed_labels", "vote:lexical+always+seed_labels"])
def test_a_judge_that_is_told_the_seeds_is_remembered_by_dialogue_and_seed(tmp_path, spec):
    seeds = [Seed(id=str(k), text="hello", harmful=k == 0) for k in range(2)]
    told = dialogues(1) * 2
    first = cached(spec, file=tmp_path / "store")
    again = cached(spec, file=tmp_path / "store")
    said = first.judge_seeded(told, seeds)
    assert said == first.inner.judge_seeded(told, seeds) == again.judge_seeded(told, seeds)
    assert (first.counts["asked"], again.counts["asked"]) == (2, 0)


def test_it_has_the_other_judges_name_and_is_as_good(tmp_path, monkeypatch):
    monkeypatch.setenv("REDTEAM_ENV_CACHE", str(tmp_path))
    judge = resolve_judge("cached:lexical")
    assert (judge.name, judge.smoke_only) == (resolve_judge("lexical").name, True)
    judge.ready()
    assert (tmp_path / "verdicts.sqlite").is_file()
    assert len(resolve_judge("cached:vote:lexical+always").judge(dialogues(2))) == 2


def test_it_can_be_pickled_and_asked_from_threads(tmp_path):
    judge = cached(Counting(), file=tmp_path / "store")
    judge.judge(dialogues(1))
    copy = pickle.loads(pickle.dumps(judge))
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(copy.judge, [dialogues(20)] * 8))
    assert all(x == found[0] for x in found)


WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from test_cached import Counting, dialogues
from redteam_env.judges import cached
judge = cached(Counting(), file=sys.argv[2])
for k in range(40):
    judge.judge(dialogues(5, word=f"{sys.argv[3]} {k}"))
    judge.judge(dialogues(5, word=f"common {k}"))
"""


def test_several_processes_write_one_store(tmp_path):
    file = tmp_path / "store"
    command = [sys.executable, "-c", WRITER, str(__import__("pathlib").Path(__file__).parent)]
    running = [subprocess.Popen([*command, str(file), str(k)]) for k in range(3)]
    assert [process.wait(120) for process in running] == [0, 0, 0]
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT count(*) FROM verdicts").fetchone() == (4 * 200,)
        assert connection.execute("SELECT count(*) FROM judges").fetchone() == (1,)


def test_verdicts_that_cannot_be_stored_now_are_given_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["redteam_env.judges.cached"], "PATIENCE_S", 0.05)
    file = tmp_path / "store"
    cached(Counting(), file=file).judge(dialogues(1))
    judge = cached(Counting(), file=file)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.warns(UserWarning, match="not stored"):
        assert len(judge.judge(dialogues(3))) == 3
    other.execute("ROLLBACK")
    other.close()
    judge.judge(dialogues(3))
    assert judge.counts == {"found": 2, "asked": 4}


def foreign_database(file):
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE verdicts (judge, dialogue, verdict)")


def with_a_trigger(file):
    cached(Counting(), file=file).judge(dialogues(1))
    with sqlite3.connect(file) as connection:
        connection.execute(
            "CREATE TRIGGER t AFTER INSERT ON verdicts BEGIN DELETE FROM verdicts; END"
        )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_text("no database, but long enough to be one" * 100),
        lambda file: file.mkdir(),
        foreign_database,
        with_a_trigger,
    ],
    ids=["text", "folder", "foreign", "trigger"],
)
def test_what_is_no_store_is_refused_in_one_line(tmp_path, spoil):
    file = tmp_path / "store"
    spoil(file)
    judge = cached(Counting(), file=file)
    for use in (judge.ready, lambda: judge.judge(dialogues(1))):
        with pytest.raises(RedteamError, match=r"store") as refused:
            use()
        assert "\n" not in str(refused.value)
        assert "Remove the file" in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[1]",
        '{"prompt_harmful": 3}',
        '{"unheard": 1}',
        '{"probabilities": 3}',
        "[" * 200 + "]" * 200,
        "9" * 400,
    ],
)
def test_a_verdict_that_cannot_be_read_is_refused_in_one_line(tmp_path, text):
    file = tmp_path / "store"
    cached(Counting(), file=file).judge(dialogues(1))
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE verdicts SET verdict = ?", (text,))
    with pytest.raises(RedteamError, match="A verdict in") as refused:
        cached(Counting(), file=file).judge(dialogues(1))
    assert "\n" not in str(refused.value)


def test_a_store_cut_off_in_the_middle_is_refused(tmp_path):
    file = tmp_path / "store"
    judge = cached(Counting(), file=file)
    judge.judge(dialogues(3000))
    judge.store.close()
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(RedteamError, match="cannot be used"):
        cached(Counting(), file=file).judge(dialogues(3000))
