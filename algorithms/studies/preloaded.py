"""What every task's process needs, imported once: the server from which they are forked imports this.

One thread each: torch reads the number when it is imported. Which extras are installed decides what
there is; training comes first, since every study needs it.
"""

import os
from contextlib import suppress
from importlib import import_module

os.environ["OMP_NUM_THREADS"] = "1"

for _name in (
    "algorithms.training.trainer",
    "peft",  # what the policies that come with the package are made from
    "algorithms.studies.bench.work",
    "algorithms.studies.experiments.work",
):
    with suppress(ImportError):
        import_module(_name)
