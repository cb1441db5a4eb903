"""The built-in seeds: 200 mild harmful requests and 200 benign ones, half of them borderline.

Written for this project. Each of ten harmful categories has 20 requests, and 10 harmless ones that
share words with them (``borderline/<category>``); 100 everyday requests (``everyday/<topic>``) make
up the rest. A quarter of each kind is held out, as the file says.
"""

import hashlib
import json
from importlib import resources

from redteam_env.game import Seed
from redteam_env.protocols import ENGLISH, DataCard, speaks
from redteam_env.seeds.columns import refuse_arguments
from redteam_env.seeds.source import ListSource

FILE = "builtin_seeds.jsonl"
REVISION = "1"


@speaks(ENGLISH)
def builtin(argument: str | None = None, **options: str) -> ListSource:
    """Return the built-in seeds.

    Args:
        argument: Not taken.
        **options: Not taken.

    Raises:
        RedteamError: If an argument or option is given.
    """
    refuse_arguments("builtin", argument, options)
    data = (resources.files("redteam_env") / "data" / FILE).read_bytes()
    card = DataCard(
        name="builtin",
        licence="Apache-2.0",
        revision=REVISION,
        sha256=hashlib.sha256(data).hexdigest(),
        origin=f"written for redteam-env; in the package as data/{FILE}",
    )
    return ListSource((Seed(**json.loads(line)) for line in data.splitlines()), card)
