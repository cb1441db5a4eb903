"""WildGuard (``allenai/wildguard``, arXiv 2406.18495), the judge of Self-RedTeam, behind a server.

Its prompt is not ours to retype: it is read, at run time, as a constant out of the authors' own
package (which is never imported, since that would need vLLM), or from a file that the user names.
"""

import ast
from pathlib import Path
from typing import Any, Literal

from redteam_env.game import (
    WILDGUARD_LABELS,
    Dialogue,
    RedteamError,
    parse_wildguard,
    unknown_name,
)
from redteam_env.judges.judge import TemplateJudge
from redteam_env.judges.parsers import parse_classes
from redteam_env.judges.template import Exchange, SingleTurnTemplate, exchange
from redteam_env.utils.packages import Member, fetch

SOURCE = Member(
    project="wildguard",
    version="1.0.1",
    name="wildguard/utils.py",
    sha256="7b7d42eb60d68608a3b8ce1ba4468dcbb94938b812e365947a1f0a0b1252a3e0",
)
"""Where the prompt stands, under Apache-2.0."""

CONSTANT = "WILDGUARD_INPUT_FORMAT"
SECTIONS = ("Human user", "AI assistant", "Answers")
"""The labels of the prompt's sections; ``/classify`` fills the prompt in itself."""

PROTOCOLS = ("completions", "classify")

_START = (
    "Start one with `python -m vllm.entrypoints.openai.api_server --model allenai/wildguard` "
    "(or Self-RedTeam's serve_wildguard, whose url ends in /classify) and give its address: "
    "--judge-url http://127.0.0.1:8000."
)


def wildguard(
    url: str | None = None,
    *,
    model: str = "allenai/wildguard",
    protocol: Literal["completions", "classify"] | None = None,
    concurrency: int = 16,
    timeout: float = 60.0,
    retries: int = 4,
    backoff: float = 0.5,
    template_file: str | Path | None = None,
) -> TemplateJudge[Any]:
    """A WildGuard judge that asks a server.

    Text of the players is neutralised before it enters the prompt
    (:func:`redteam_env.judges.template.neutralise`). A key for the server is taken from the
    environment variable ``REDTEAM_ENV_JUDGE_API_KEY``.

    Args:
        url: The server: its root, its ``/v1``, or the whole address of the endpoint.
        model: The model's name at the server (``completions`` only).
        protocol: ``completions`` for any OpenAI-compatible server, ``classify`` for Self-RedTeam's
            own. By default it follows from the url.
        concurrency: Most requests under way at once.
        timeout: Seconds that one attempt may take.
        retries: Further attempts after a failure that may pass.
        backoff: Seconds before the first retry, doubled for each further one.
        template_file: A file with the prompt, with the places ``{prompt}`` and ``{response}``; by
            default the authors' own is fetched (``completions`` only).

    Returns:
        The judge. Its ``ready()`` finds out whether the server works.

    Raises:
        RedteamError: If the url is missing or no http address, an option is out of range or
            belongs to the other protocol, or the prompt cannot be had.
    """
    # httpx2 takes 0.2 s to import, which the default judge, next door, need not pay.
    from redteam_env.judges.backends import (  # noqa: PLC0415
        KEY_VARIABLE,
        ClassifyBackend,
        CompletionsBackend,
    )
    from redteam_env.utils.http import Endpoint  # noqa: PLC0415

    if url is None:
        raise RedteamError(f"The judge 'wildguard' needs a server that runs the model. {_START}")
    address, spoken = _endpoint(url, protocol)
    endpoint = Endpoint(
        url=address,
        concurrency=concurrency,
        timeout=timeout,
        retries=retries,
        backoff=backoff,
        key_variable=KEY_VARIABLE,
    )
    if spoken == "classify":
        if template_file is not None:
            raise RedteamError(
                f"template_file is {str(template_file)!r}, but a /classify server has its own "
                "template; leave it out, or give a server with /v1/completions."
            )
        return TemplateJudge(
            name="wildguard",
            template=_guarded_exchange,
            parser=parse_classes,
            backend=ClassifyBackend(endpoint=endpoint),
        )
    text = _read(template_file) if template_file is not None else wildguard_template()
    return TemplateJudge(
        name="wildguard",
        template=SingleTurnTemplate(text, also_guard=WILDGUARD_LABELS),
        parser=parse_wildguard,
        backend=CompletionsBackend(endpoint=endpoint, model=model),
    )


def wildguard_template() -> str:
    """Return WildGuard's prompt, read out of the authors' package without importing it.

    Returns:
        The prompt with ``{prompt}`` and ``{response}``.

    Raises:
        RedteamError: If the package cannot be fetched or lacks the constant.
    """
    return constant_in(_read(fetch(SOURCE)), CONSTANT)


def constant_in(source: str, name: str) -> str:
    """Return a module-level string constant of Python source that is not executed.

    Args:
        source: The module's text.
        name: The constant's name.

    Returns:
        Its value.

    Raises:
        RedteamError: If the source does not parse or has no such string.
    """
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError) as error:
        raise RedteamError(
            f"The source that should define {name} is no Python: {error}."
        ) from error
    for node in body:
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Constant):
            continue
        named = any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
        if named and isinstance(node.value.value, str):
            return node.value.value
    raise RedteamError(f"The source defines no string {name}; name a template_file instead.")


def _guarded_exchange(dialogue: Dialogue) -> Exchange:
    return exchange(dialogue, (*SECTIONS, *WILDGUARD_LABELS))


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RedteamError(
            f"The template file {str(path)!r} cannot be read: {error}. Give a UTF-8 text file."
        ) from error


def _endpoint(url: str, protocol: str | None) -> tuple[str, str]:
    """Complete a server's address to that of the endpoint, and say which protocol it speaks."""
    from redteam_env.utils.http import parse_url  # noqa: PLC0415 - see wildguard()

    if protocol is not None and protocol not in PROTOCOLS:
        raise unknown_name("protocol", protocol, PROTOCOLS)
    parsed = parse_url(url)
    path = parsed.path.rstrip("/")
    ends = {"classify": path.endswith("/classify"), "completions": path.endswith("/completions")}
    spoken = protocol or ("classify" if ends["classify"] else "completions")
    other = "completions" if spoken == "classify" else "classify"
    if ends[other]:
        raise RedteamError(
            f"The judge's url ends in /{other}, but protocol is {spoken!r}; correct either."
        )
    if path.endswith("/chat/completions"):
        raise RedteamError(
            "The judge's url ends in /chat/completions, but WildGuard is asked by raw completion; "
            "give the server's /v1/completions."
        )
    if not ends[spoken]:
        if spoken == "classify":
            path += "/classify"
        else:
            path += "/completions" if path.endswith("/v1") else "/v1/completions"
    return str(parsed.copy_with(path=path)), spoken
