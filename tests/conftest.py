"""Makes the helper modules beside this file importable, and keeps tests apart from each other."""

import signal
import sys
from pathlib import Path

import pytest

from redteam_env import registry

sys.path.insert(0, str(Path(__file__).parent))

# a shell's background jobs start with Ctrl-C ignored, and so would every command that a test starts
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def plugins_of_one_test(monkeypatch):
    """Forget what a test registers: the registry is one for the whole process."""
    monkeypatch.setattr(registry, "_local", dict(registry._local))
