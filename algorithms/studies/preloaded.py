"""What every task's process needs, imported once: the server from which they are forked imports this.

One thread each: torch reads the number when it is imported.
"""

import os
from contextlib import suppress

os.environ["OMP_NUM_THREADS"] = "1"

import algorithms.studies.bench.work
import algorithms.studies.experiments.work  # noqa: F401 - the same

with suppress(ImportError):  # what the policies that come with the package are made from
    import peft  # noqa: F401
