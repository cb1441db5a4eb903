"""What is stored of a judge holds for that judge only."""

import pytest
from support_servers import RecordedJudgeServer

from redteam_env.border.judges import notice
from redteam_env.game import RedteamError, Verdict
from redteam_env.judges import card_judge, identity_of, made, resolve_judge
from redteam_env.judges.cached import cached
from redteam_env.judges.combined import vote
from redteam_env.judges.judge import PROBES
from redteam_env.judges.sources import Source

URL = "http://127.0.0.1:9"


def served(**options):
    return identity_of(card_judge("llamaguard3", URL, **options))


def test_a_cards_judge_is_its_model_and_everything_that_is_made_of_its_answers():
    base = served()
    assert base == served()
    assert base.revision
    assert not base.place
    for other in ({"model": "other"}, {"max_tokens": 99}):
        assert served(**other) != base
    assert identity_of(card_judge("shieldgemma", URL, soft=True)) != identity_of(
        card_judge("shieldgemma", URL)
    )


def test_a_changed_parser_or_guard_is_another_judge_and_old_verdicts_are_not_its_own(
    monkeypatch, tmp_path
):
    base, store = served(), tmp_path / "store"
    with RecordedJudgeServer() as server:
        judge = cached("llamaguard3?canary=false", url=server.url, file=store)
        judge.store.add(judge.identity, {})
        monkeypatch.setattr(made, "RULES", made.RULES + 1)
        assert served() != base
        again = cached("llamaguard3?canary=false", url=server.url, file=store)
    assert again.identity != judge.identity


def test_weights_in_a_folder_are_looked_at_and_not_only_their_place(tmp_path, monkeypatch):
    class Pool:
        def load(self, *_):
            return object()

    monkeypatch.setattr(made, "build", lambda *_, **__: Pool())
    weights = tmp_path / "model.safetensors"
    seen = set()
    for content in (b"\0" * 5_000_000, b"\1" * 5_000_000, b"\1" * 5_000_001):
        weights.write_bytes(content)
        seen.add(identity_of(card_judge("plain", model=str(tmp_path))).revision)
    assert len(seen) == 3
    assert identity_of(card_judge("plain", model=str(tmp_path))).revision in seen


def test_a_server_that_hides_its_model_is_known_by_its_address_without_secrets():
    found = identity_of(
        resolve_judge("wildguard", url="http://user:secret@127.0.0.1:9/classify?key=secret")
    )
    assert (found.revision, found.known) == ("", True)
    assert found.place.startswith("http://127.0.0.1:9/classify ")
    assert "secret" not in found.place
    assert found != identity_of(resolve_judge("wildguard", url="http://127.0.0.1:8/classify"))
    with pytest.raises(RedteamError, match="does not say its revision"):
        cached("wildguard", url="http://127.0.0.1:9/classify")


@pytest.mark.parametrize("name", ["plain", "strongreject_rubric"])
def test_any_model_behind_a_server_is_known_by_the_server_and_its_name_there(monkeypatch, name):
    monkeypatch.setattr(Source, "text", lambda self: "{forbidden_prompt} {response}")

    def asked(port, model="judge", **options):
        return identity_of(card_judge(name, f"http://127.0.0.1:{port}", model=model, **options))

    found = asked(1)
    assert found == asked(1)
    assert found.known
    assert not found.revision
    assert found not in (asked(2), asked(1, model="other"), asked(1, max_tokens=9))
    with pytest.raises(RedteamError, match="does not say its revision"):
        cached(card_judge(name, URL, model="judge"))


def test_a_judge_of_others_is_known_if_all_of_them_are():
    classify = resolve_judge("wildguard", url="http://127.0.0.1:9/classify")
    lexical = resolve_judge("lexical")
    found = identity_of(vote(parts=[classify, lexical, lexical]))
    assert (found.revision, found.known) == ("", True)
    assert "http://127.0.0.1:9/classify" in found.place

    class Unversioned:
        name, smoke_only = "unversioned", False

        def judge(self, dialogues):
            return [Verdict()] * len(dialogues)

    unknown = identity_of(vote(parts=[Unversioned(), lexical, lexical]))
    assert not unknown.known
    assert len(vote(parts=[Unversioned(), lexical, lexical]).judge(PROBES)) == 3


def test_seed_labels_are_a_judge_of_the_word_lists_that_it_reads():
    assert identity_of(resolve_judge("seed_labels")).revision


@pytest.mark.parametrize(
    "spec", [f"plain?model=m&url={URL}", f"wildguard?url={URL}/classify&canary=false"]
)
def test_a_revision_that_the_user_vouches_for_lets_verdicts_be_kept_and_is_told(spec, tmp_path):
    found = {}
    for word in ("q4-2026", "7", "7.1-b"):
        judge = resolve_judge(f"{spec}&revision={word}")
        found[word] = identity_of(judge)
        assert f"'{word}' (vouched for by the user)" in found[word].revision
        assert not found[word].place
        kept = cached(judge, file=tmp_path / "store")
        assert kept.identity == found[word]
        assert repr(word) in notice(kept), "commands say so at their start"
    assert len(set(found.values())) == 3
    again = spec.replace("9", "8")
    if "plain" in spec:
        assert identity_of(resolve_judge(f"{again}&revision=7")) == found["7"], (
            "wherever it answers"
        )


@pytest.mark.parametrize("word", ["", " ", "a\nb", "x" * 101])
def test_a_word_that_tells_no_revision_is_refused(word):
    with pytest.raises(RedteamError, match=r"revision is .* printable characters"):
        card_judge("plain", URL, model="m", revision=word)


def test_weights_in_this_process_need_nobodys_word(tmp_path):
    with pytest.raises(RedteamError, match="weights tell which they are"):
        card_judge("plain", model=str(tmp_path), revision="1")
