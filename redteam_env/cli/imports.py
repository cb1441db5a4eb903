"""Which of the installed packages cannot be imported, and why.

They are imported in a process of their own: one may take that process with it, and none of them is to stay
in ours.
"""

import json
import subprocess
import sys
from collections.abc import Sequence

from redteam_env.utils.extras import module_of

_LONGEST_S = 300
_LONGEST_CAUSE = 300
_CODE = """
import importlib, json, os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # packages may print while they are imported
for name in sys.argv[1:]:
    cause = None
    try:
        importlib.import_module(name)
    except BaseException as error:
        cause = f"{type(error).__name__}: {error}"
    print(json.dumps([name, cause]), file=answers, flush=True)
os._exit(0)
"""


def broken_imports(distributions: Sequence[str]) -> dict[str, str]:
    """Import packages, and say of each that cannot be imported what happened, on one line.

    Args:
        distributions: Their names; all are installed.

    Returns:
        The cause, by distribution; those that are whole are left out.
    """
    names = {module_of(x): x for x in distributions}
    left, found = list(names), dict[str, str]()
    while left:
        answers, ended = _import(left)
        found |= {names[name]: cause for name, cause in answers.items() if cause is not None}
        left = [name for name in left if name not in answers]
        if left:  # the process ended in the first of these
            found[names[left.pop(0)]] = ended
    return {name: " ".join(cause.split())[:_LONGEST_CAUSE] for name, cause in found.items()}


def _import(modules: Sequence[str]) -> tuple[dict[str, str | None], str]:
    """Return what the process said of the modules it came to, and how it ended."""
    command = [sys.executable, "-c", _CODE, *modules]
    try:
        done = subprocess.run(  # noqa: S603 - ours  # nosec B603 # this interpreter and the code above
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=_LONGEST_S, check=False
        )
        output, ended = done.stdout, f"importing it ends the process (exit code {done.returncode})"
    except subprocess.TimeoutExpired as error:
        output, ended = error.stdout or b"", f"importing it takes more than {_LONGEST_S} s"
    rows = [json.loads(line) for line in output.decode(errors="replace").splitlines()]
    return {str(name): cause for name, cause in rows}, ended
