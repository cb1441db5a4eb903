"""From what a user names to the judge that is meant."""

import inspect
from typing import Any

from redteam_env import registry
from redteam_env.border.judges import check_judge
from redteam_env.game import RedteamError
from redteam_env.protocols import Judge
from redteam_env.registry import build


def resolve_judge(judge: str | Judge, *, url: str | None = None, **options: Any) -> Judge:
    """Return a judge.

    Args:
        judge: The name of a registered judge, such as ``lexical``, or a judge.
        url: The judge's server, for judges that ask one.
        **options: Further keyword arguments of the named judge's factory.

    Returns:
        The judge.

    Raises:
        RedteamError: If the name is unknown, the judge takes no url or not that option, options
            come with a judge that is made already, or the object is no judge.
    """
    given = options if url is None else {"url": url, **options}
    if isinstance(judge, str):
        if url is not None:
            _check_takes_url(judge)
        return check_judge(build("judges", judge, **given), f"judge {judge!r}")
    if given:
        raise RedteamError(
            f"{', '.join(sorted(given))} would be ignored: the judge is an object "
            f"({type(judge).__name__}) that is made already. Give them when you make it."
        )
    return check_judge(judge, f"judge {type(judge).__name__}")


def _check_takes_url(name: str) -> None:
    try:
        parameters = inspect.signature(registry.load("judges", name)).parameters.values()
    except ValueError:
        return
    if not any(x.name == "url" or x.kind is inspect.Parameter.VAR_KEYWORD for x in parameters):
        raise RedteamError(
            f"The judge {name!r} runs in this process and takes no url. Leave the url (--judge-url) "
            "out, or choose a judge that asks a server, such as 'wildguard'."
        )
