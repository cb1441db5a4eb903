"""Fuzz one entry point with atheris: ``python tests/fuzz/run.py NAME [libFuzzer's options]``.

It begins with the inputs of ``tests/fuzz/corpus/NAME``; new ones go to the folder that is named, if one
is. A finding ends it with a traceback, and the input stays in a file ``crash-...`` of this directory.
"""

import io
import sys
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parents[1])]
OURS = ["redteam_env", "agents", "algorithms", "json", "csv", "tomllib"]

with atheris.instrument_imports(include=OURS):
    from fuzz.targets import CORPUS, MOST_BYTES, TARGETS


def main(name: str, options: list[str]) -> None:
    """Fuzz an entry point until libFuzzer's limit is reached or something is found."""
    sys.stdin = io.StringIO()  # questions are answered with nothing
    arguments = [sys.argv[0], f"-max_len={MOST_BYTES}", *options, str(CORPUS / name)]
    atheris.Setup(arguments, TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"Name one of: {', '.join(TARGETS)}")
    main(sys.argv[1], sys.argv[2:])
