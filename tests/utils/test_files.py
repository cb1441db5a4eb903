"""Files that are whole or absent, JSON that is checked, and manifests of folders."""

import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from redteam_env.game import RedteamError
from redteam_env.utils.files import (
    append_line,
    check_digests,
    digests_of,
    read_json,
    read_record,
    verify_manifest,
    write_aside,
    write_manifest,
    write_text,
    written_folder,
    written_names,
)


def kinds():
    return pytest.mark.parametrize("kind", ["file", "folder"])


def fill(place, kind, text="new"):
    """Make a file, or a folder with a file in it."""
    if kind == "folder":
        place.mkdir()
        place /= "inner"
        place.mkdir()
        place /= "file"
    place.write_text(text)


def content(place):
    """What a file, or the file in a folder, says; ``None`` if it is absent."""
    file = place / "inner" / "file" if place.is_dir() else place
    return file.read_text() if file.exists() else None


@kinds()
@pytest.mark.parametrize("shared", [False, True])
def test_what_was_written_aside_is_there_and_nothing_else(tmp_path, kind, shared):
    place = tmp_path / "above" / "place"
    with write_aside(place, shared=shared) as partial:
        assert not partial.exists()
        fill(partial, kind)
        assert content(place) is None
    assert content(place) == "new"
    assert [x.name for x in place.parent.iterdir()] == ["place"]


@kinds()
def test_the_old_content_is_there_until_the_new_one_is_whole(tmp_path, kind):
    place = tmp_path / "place"
    fill(place, kind, "old")
    with write_aside(place) as partial:
        fill(partial, kind)
        assert content(place) == "old"
    assert content(place) == "new"


@kinds()
@pytest.mark.parametrize("old", [None, "old"])
def test_an_error_while_writing_changes_nothing(tmp_path, kind, old):
    place = tmp_path / "place"
    if old:
        fill(place, kind, old)

    def write():
        with write_aside(place) as partial:
            fill(partial, kind)
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write()
    assert content(place) == old
    assert [x for x in tmp_path.iterdir() if x != place] == []


def die_halfway(place, kind):
    with write_aside(place) as partial:
        fill(partial, kind, "half")
        os.kill(os.getpid(), signal.SIGKILL)


@kinds()
def test_a_killed_writer_changes_nothing_and_the_next_one_cleans_up(tmp_path, kind):
    place = tmp_path / "place"
    process = multiprocessing.get_context("fork").Process(target=die_halfway, args=(place, kind))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert content(place) is None
    assert [x.name for x in tmp_path.iterdir()] == [".place.partial"]
    with write_aside(place) as partial:
        fill(partial, kind)
    assert content(place) == "new"
    assert [x.name for x in tmp_path.iterdir()] == ["place"]


def replace_folder(place, text="new"):
    with write_aside(place) as partial:
        fill(partial, "folder", text)


def at_renaming(monkeypatch, number, happen):
    """Let something happen in place of a renaming, counted from 1."""
    count = 0
    rename = Path.replace

    def counted(path, target):
        nonlocal count
        count += 1
        return happen() if count == number else rename(path, target)

    monkeypatch.setattr(Path, "replace", counted)


def fail():
    raise PermissionError("locked")


@pytest.mark.parametrize("number", [1, 2])
def test_a_failed_renaming_leaves_the_old_folder(tmp_path, monkeypatch, number):
    place = tmp_path / "place"
    fill(place, "folder", "old")
    at_renaming(monkeypatch, number, fail)
    with pytest.raises(PermissionError, match="locked"):
        replace_folder(place)
    assert content(place) == "old"
    assert [x.name for x in tmp_path.iterdir()] == ["place"]


def test_an_interrupt_between_the_renamings_leaves_the_old_folder(tmp_path, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    place = tmp_path / "place"
    fill(place, "folder", "old")
    at_renaming(monkeypatch, 2, interrupt)
    with pytest.raises(KeyboardInterrupt):
        replace_folder(place)
    assert content(place) == "old"


def test_if_the_old_folder_cannot_be_put_back_it_is_still_found(tmp_path, monkeypatch):
    place = tmp_path / "place"
    fill(place, "folder", "old")
    rename = Path.replace
    locked = [place]
    monkeypatch.setattr(Path, "replace", lambda x, to: fail() if to in locked else rename(x, to))
    with pytest.raises(PermissionError, match="locked"):
        replace_folder(place)
    assert content(place) is None
    assert content(written_folder(place)) == "old"
    locked.clear()
    replace_folder(place)
    assert content(place) == "new"
    assert [x.name for x in tmp_path.iterdir()] == ["place"]


@pytest.mark.parametrize(("number", "kept"), [(1, "old"), (2, "old"), (3, "new")])
def test_a_writer_killed_while_it_replaces_a_folder_loses_nothing(tmp_path, number, kept):
    place = tmp_path / "place"
    fill(place, "folder", "old")

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def write():
        with pytest.MonkeyPatch.context() as patch:
            at_renaming(patch, number, die)
            if number == 3:  # both renamings are done, the old folder is still there
                patch.setattr("shutil.rmtree", lambda *_, **__: die())
            replace_folder(place)

    process = multiprocessing.get_context("fork").Process(target=write)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert content(written_folder(place)) == kept
    assert "place" in written_names(tmp_path)
    with pytest.raises(OSError, match="full"), write_aside(place):
        raise OSError("full")
    assert content(place) == kept
    assert [x.name for x in tmp_path.iterdir()] == ["place"]
    replace_folder(place, "newest")
    assert content(place) == "newest"


def test_nothing_is_found_where_nothing_was_written(tmp_path):
    assert written_folder(tmp_path / "place") == tmp_path / "place"
    assert written_names(tmp_path / "place") == set()


@kinds()
def test_everything_is_on_the_disk_before_and_after_the_renaming(tmp_path, kind, monkeypatch):
    place = tmp_path / "place"
    synced = []
    monkeypatch.setattr(os, "fsync", lambda x: synced.append((os.fstat(x).st_ino, place.exists())))
    with write_aside(place) as partial:
        fill(partial, kind)
    before = [place / "inner" / "file", place / "inner"] if kind == "folder" else []
    wanted = [*((x, False) for x in (*before, place)), (tmp_path, True)]
    assert synced == [(path.stat().st_ino, renamed) for path, renamed in wanted]


def test_text_is_utf_8_and_its_folder_is_made(tmp_path):
    write_text(tmp_path / "a" / "file", "é\n")
    assert (tmp_path / "a" / "file").read_bytes() == b"\xc3\xa9\n"


def test_two_writers_of_a_shared_folder_do_not_meet_and_the_first_wins(tmp_path):
    place = tmp_path / "place"

    def write(text):
        with write_aside(place, shared=True) as partial:
            fill(partial, "folder", text)
            if text == "late":
                write("early")

    with pytest.raises(OSError, match="place"):
        write("late")
    assert content(place) == "early"
    assert [x.name for x in tmp_path.iterdir()] == ["place"]


def test_a_shared_folder_takes_the_place_and_the_permissions_of_an_empty_one(tmp_path):
    place = tmp_path / "place"
    place.mkdir(mode=0o700)
    with write_aside(place, shared=True) as partial:
        fill(partial, "folder")
    assert content(place) == "new"
    assert place.stat().st_mode & 0o777 == 0o700


def test_a_line_is_appended(tmp_path):
    for line in ("one", "two"):
        append_line(tmp_path / "file", line)
    assert (tmp_path / "file").read_text() == "one\ntwo\n"


DAMAGED = {
    "empty": b"",
    "cut": b'{"schema": 1',
    "words": b"no json",
    "bytes": b'{"schema": "\xff"}',
    "deep": b"[" * 100_000,
    "huge": b'{"schema": ' + b"1" * 5_000 + b"}",
}


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("read", [read_json, read_record])
def test_damaged_json_is_one_line_that_names_file_and_remedy(tmp_path, name, read):
    file = tmp_path / "file.json"
    file.write_bytes(DAMAGED[name])
    with pytest.raises(RedteamError, match=r"^'.*file\.json' cannot be read \(.+\)\. Mend it\.$"):
        read(file, remedy="Mend it.")


def test_a_missing_file_is_one_line_that_names_file_and_remedy(tmp_path):
    with pytest.raises(RedteamError, match=r"^'.*none\.json' cannot be read \(No such.*Mend it\.$"):
        read_json(tmp_path / "none.json", remedy="Mend it.")


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ([], "holds no JSON object"),
        ({"a": 1}, "lacks schema, b"),
        ({"schema": 1}, "lacks b"),
        ({"schema": 2, "b": 1}, "has schema 2; this version reads 1"),
    ],
)
def test_a_record_of_another_form_is_refused(tmp_path, value, fault):
    file = tmp_path / "file.json"
    file.write_text(json.dumps(value))
    with pytest.raises(RedteamError, match=rf"file\.json' {fault}"):
        read_record(file, remedy="Mend it.", schema=1, needed=["b"])


def test_a_record_is_returned_whole(tmp_path):
    file = tmp_path / "file.json"
    file.write_text('{"b": 1, "c": 2}')
    assert read_record(file, remedy="Mend it.", needed=["b"]) == {"b": 1, "c": 2}


def test_digests_cover_all_files_and_tell_what_differs(tmp_path):
    fill(tmp_path / "place", "folder")
    digests = digests_of(tmp_path / "place")
    assert list(digests) == ["inner/file"]
    options = {"what": "The place", "remedy": "Mend it."}
    check_digests(tmp_path / "place", digests, **options)
    (tmp_path / "place/inner/file").write_text("old")
    with pytest.raises(RedteamError, match=r"^The place is damaged: '.*file' was altered.*Mend it"):
        check_digests(tmp_path / "place", digests, **options)
    (tmp_path / "place/inner/file").unlink()
    with pytest.raises(RedteamError, match=r"^The place lacks the file '.*file'\. Mend it"):
        check_digests(tmp_path / "place", digests, **options)


def test_a_manifest_says_what_it_is_told_and_is_verified(tmp_path):
    fill(tmp_path / "place", "folder")
    write_manifest(tmp_path / "place", {"step": 3})
    assert json.loads((tmp_path / "place" / "manifest.json").read_text())["step"] == 3
    verify_manifest(tmp_path / "place")
