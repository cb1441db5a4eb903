"""What holds for all tests: one thread a process, hypothesis' profiles, plug-ins kept apart."""

import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from redteam_env import registry
from redteam_env.utils import consent

MOST_WORKERS = 8
"""More processes need more memory than the suite is worth: each has torch and a model of its own."""
LONGEST = (
    "test_examples.py",
    "test_plugins.py",
    "test_league_runs.py",
    "test_algorithms_run.py",
    "test_quickstart.py",
    "test_every_fault.py",
    "test_embedded_models.py",
)
"""Files of half a minute each, or of minutes with the slow tests; they begin first, so that no process is left alone with one."""

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # read when torch is imported; tiny models need no more
# wall-clock time says how busy the machine is, so no example fails for being slow
PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("few", max_examples=25, derandomize="CI" in os.environ, **PATIENT)
settings.register_profile("gate", max_examples=200, derandomize=True, **PATIENT)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "few"))

sys.path.insert(0, str(Path(__file__).parent))

# what this account wrote, a test must not be able to say of the person's who runs it
_state = tempfile.TemporaryDirectory(prefix="redteam-env-state-")
os.environ["XDG_STATE_HOME"] = _state.name
# and what the person's judges were measured to be is nothing that a test's tables show
os.environ["REDTEAM_ENV_DATA"] = _state.name

# colours are no part of what tests compare
for _name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
    os.environ.pop(_name, None)

# a shell's background jobs start with Ctrl-C ignored, and so would every command that a test starts
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers(config):
    """Give the suite a process a core; files named one by one run here, where starting is quicker."""
    if (wanted := os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS", "")).isdecimal():
        return int(wanted)  # xdist's own variable, which this hook would hide
    if config.option.capture == "no" or all(".py" in x for x in config.args):
        return 0
    there = cores()
    return min(there, MOST_WORKERS) if there > 1 else 0


def cores():
    """Return how many cores this process may use: a container or taskset may grant fewer than exist."""
    if hasattr(os, "process_cpu_count"):  # since Python 3.13
        return os.process_cpu_count() or 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pytest_collection_modifyitems(items):
    """Put the files that take longest first."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(autouse=True)
def plugins_of_one_test():
    """Forget what a test registers: the registry is one for the whole process."""
    with registry.isolated():
        yield


@pytest.fixture(autouse=True)
def keys_of_one_test():
    """Forget which server a test's key was for, and what was confirmed in it: both hold for a process."""
    yield
    consent._confirmed.clear()
    if (http := sys.modules.get("redteam_env.utils.http")) is not None:
        http._origins.clear()


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install a distribution of a module and entry points; returns a function that does it."""

    def install(code, entries, *, name="dummy-plugins", module="dummy_plugins"):
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{name.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(entries)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setitem(sys.modules, module, None)  # afterwards it is as it was
        del sys.modules[module]

    return install
