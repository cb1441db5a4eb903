"""WildGuard (``allenai/wildguard``, arXiv 2406.18495), the judge of Self-RedTeam.

Its card is ``cards/wildguard.toml``. The function gives its options their names and stands in the
registry, where every judge that a run's ``config.json`` may name by itself does.
"""

from pathlib import Path
from typing import Any, Literal

from redteam_env.judges.judge import TemplateJudge
from redteam_env.judges.made import card_judge
from redteam_env.protocols import Agent


def wildguard(
    url: str | None = None,
    *,
    model: str | None = None,
    protocol: Literal["completions", "classify", "transformers"] | None = None,
    agent: Agent | None = None,
    concurrency: int = 16,
    timeout: float = 60.0,
    retries: int = 4,
    backoff: float = 0.5,
    template_file: str | Path | None = None,
    soft: bool = False,
    canary: bool = True,
    revision: str | int | None = None,
) -> TemplateJudge[Any]:
    """A WildGuard judge that asks a server, or a model in this process; see :func:`redteam_env.judges.made.card_judge`.

    Args:
        url: The server: its root, its ``/v1``, or the whole address of the endpoint.
        model: The model's name at the server (``completions``), or in process a directory or hub id.
        protocol: ``completions`` for any OpenAI-compatible server, ``classify`` for Self-RedTeam's
            own, ``transformers`` for a model in this process. By default it follows from the url; without
            one the model runs here if it is named.
        agent: What goes on with a text in process, instead of a name.
        concurrency: Most requests under way at once.
        timeout: Seconds that one attempt may take.
        retries: Further attempts after a failure that may pass.
        backoff: Seconds before the first retry, doubled for each further one.
        template_file: A file with the prompt, with the places ``{prompt}`` and ``{response}``; by
            default the authors' own is fetched (not with ``classify``).
        soft: Whether probabilities are asked for (``completions`` only).
        canary: Whether it must answer plain test dialogues right before it is used.
        revision: Your word for which model answers, where the server does not tell (``classify``).

    Returns:
        The judge. Its ``ready()`` finds out whether it works.

    Raises:
        RedteamError: If the url is missing or no http address, an option is out of range or
            belongs to another protocol, or the prompt cannot be had.
    """
    return card_judge(
        "wildguard",
        url,
        model=model,
        protocol=protocol,
        agent=agent,
        concurrency=concurrency,
        timeout=timeout,
        retries=retries,
        backoff=backoff,
        template_file=template_file,
        soft=soft,
        canary=canary,
        revision=revision,
    )
