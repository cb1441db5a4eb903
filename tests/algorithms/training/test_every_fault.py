"""A short training whose n-th operation on files or in memory fails: it says so, and resumes to the same bytes."""

import errno
import itertools
from unittest.mock import MagicMock

import pytest
from training_fakes import contents, metrics

from algorithms.training.trainer import train
from redteam_env.cli.main import main
from redteam_env.game import RedteamError
from redteam_env.runs import CONFIG
from redteam_env.testing import faults

SHORT = {"games": 2, "rank": 1, "max_new_tokens": 2}
NUMBERS = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EMFILE, errno.EIO)
COARSE = 17
"""In the default suite, every so many operations one fails: a number that no step's operations share."""


@pytest.fixture
def quick(monkeypatch):
    """Leave out what takes long and that no run depends on: TensorBoard, and the waiting for the disk."""
    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter", MagicMock())
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture
def whole(tiny_config, tmp_path, quick):
    """The undisturbed run."""
    train(tiny_config(**SHORT, out=str(tmp_path / "whole")))
    return everything(tmp_path / "whole")


def everything(run):
    """All that a run leaves but the clock and what it says of its sessions; nothing half written."""
    files = contents(run, "checkpoints", "episodes", "opponents")
    left = [x.name for x in run.iterdir() if x.name.startswith(".")]
    return files, metrics(run), sorted(left)


def disturbed(config, when, number):
    """Train on a faulty disk; return what failed, and the error."""
    error = None
    with faults.faulty_disk(config.run.out, when, number=number) as disk:
        try:
            train(config)
        except RedteamError as caught:
            error = caught
    return disk.failed, error


def check(tiny_config, out, whole, when, number):
    """Train on a faulty disk, then again on a sound one; return whether anything failed."""
    failed, error = disturbed(tiny_config(**SHORT, out=str(out)), when, number)
    if error is not None:
        assert failed, "an error without a fault"
        text = str(error)
        assert "\n" not in text
        assert str(out) in text, failed
    begun = (out / CONFIG).is_file()
    if error is None:
        assert everything(out) == whole, failed
    train(tiny_config(**SHORT, out=str(out), resume=begun))
    assert everything(out) == whole, failed
    return bool(failed)


def sweep(tiny_config, tmp_path, whole, numbers, **kind):
    """Let operations fail one after the other, until a run has no more; return how many there were."""
    for n in numbers:
        when = faults.When(**dict.fromkeys(kind, n))
        if not check(tiny_config, tmp_path / f"run-{n}", whole, when, NUMBERS[n % len(NUMBERS)]):
            return n
    raise AssertionError("a run ends")


def test_a_training_whose_nth_file_operation_fails_resumes_to_the_same_bytes(
    tiny_config, tmp_path, whole
):
    assert sweep(tiny_config, tmp_path, whole, itertools.count(3, COARSE), at=True) > 100


@pytest.mark.slow
def test_whichever_file_operation_of_a_training_fails_it_resumes_to_the_same_bytes(
    tiny_config, tmp_path, whole
):
    assert sweep(tiny_config, tmp_path, whole, itertools.count(1), at=True) > 100


@pytest.mark.slow
def test_a_disk_that_fails_from_the_nth_operation_on_leaves_a_run_that_resumes(
    tiny_config, tmp_path, whole
):
    assert sweep(tiny_config, tmp_path, whole, itertools.count(1, 5), since=True) > 100


def out_of_memory(tiny_config, out, whole, n):
    """Train, and find no memory at the n-th operation; then again. Returns whether anything failed."""
    said = []
    with faults.faulty_memory(faults.When(at=n)) as when:
        try:
            train(tiny_config(**SHORT, out=str(out)))
        except RedteamError as error:
            said.append(str(error))
    assert len(said) == when.failed
    assert all("allocate memory" in text and "\n" not in text for text in said)
    train(tiny_config(**SHORT, out=str(out), resume=(out / CONFIG).is_file()))
    assert everything(out) == whole
    return bool(when.failed)


def test_a_training_that_finds_no_memory_at_its_nth_operation_resumes_to_the_same_bytes(
    tiny_config, tmp_path, whole
):
    tried = range(1, 12_000, 1_100)
    failed = [n for n in tried if out_of_memory(tiny_config, tmp_path / f"run-{n}", whole, n)]
    assert 5 <= len(failed) < len(tried)


@pytest.mark.slow
def test_wherever_a_training_finds_no_memory_it_resumes_to_the_same_bytes(
    tiny_config, tmp_path, whole
):
    numbers = itertools.count(1, 193)
    while out_of_memory(tiny_config, tmp_path / f"run-{(n := next(numbers))}", whole, n):
        pass
    assert n > 5_000


def test_a_disk_that_is_full_for_tensorboard_alone_is_one_line(
    arguments, tiny_config, tmp_path, capsys, two_steps
):
    board = tmp_path / "run" / "tensorboard"
    with faults.faulty_disk(board, faults.When(since=12)) as disk:
        assert main(arguments()) == 2
    assert disk.failed
    (line,) = capsys.readouterr().err.splitlines()
    assert "no space left on device" in line
    assert "then --resume goes on from there." in line
    assert main(arguments("--resume")) == 0
    assert everything(tmp_path / "run") == everything(two_steps)
