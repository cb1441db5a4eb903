"""From a judge's card to the judge: one function for all of them."""

import dataclasses
import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from redteam_env.game import WILDGUARD_LABELS, Count, Dialogue, RedteamError, unknown_name
from redteam_env.game.checks import check_values
from redteam_env.judges.card import Card, QuestionCard, read_card
from redteam_env.judges.judge import Backend, Comparison, GoalJudge, Question, TemplateJudge
from redteam_env.judges.parsers import PARSERS, parse_classes
from redteam_env.judges.sources import file_text
from redteam_env.judges.template import (
    PLACES,
    Conversation,
    Exchange,
    Guard,
    Instruction,
    SingleTurnTemplate,
    exchange,
)
from redteam_env.protocols import Agent
from redteam_env.registry import build

TOP = {"completions": 5, "chat": 20}
"""Alternatives to each token that are asked for; what servers grant without being set up for more."""
RULES = 1
"""Raised whenever the library asks otherwise about the same dialogue, or makes something else of the same
answer: with another guard (:mod:`redteam_env.judges.template`), another parser, another way to merge answers.
What was measured and stored of a judge holds for one number; ``tests/judges/test_judge_rules.py`` tells when."""
_SAMPLE, _SAMPLES = 1 << 16, 64
_LONGEST_WORD = 100
_PATHS = {"completions": "/completions", "chat": "/chat/completions", "classify": "/classify"}
_SECTIONS = ("Human user", "AI assistant", "Answers")
"""The labels of WildGuard's prompt, which a /classify server fills in itself."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What may be told of how a judge is asked."""

    model: str | None
    protocol: str | None
    concurrency: int
    timeout: float
    retries: int
    backoff: float
    template_file: str | Path | None
    max_tokens: Count | None
    soft: bool
    canary: bool
    revision: str | int | None


def card_judge(
    card: str | Path | Card,
    url: str | None = None,
    *,
    model: str | None = None,
    protocol: Literal["completions", "chat", "classify", "transformers"] | None = None,
    agent: Agent | None = None,
    concurrency: int = 16,
    timeout: float = 60.0,
    retries: int = 4,
    backoff: float = 0.5,
    template_file: str | Path | None = None,
    max_tokens: int | None = None,
    soft: bool = False,
    canary: bool = True,
    revision: str | int | None = None,
) -> TemplateJudge[Any]:
    """Make a judge of a card.

    Text of the players is guarded before it enters a prompt (:class:`redteam_env.judges.template.Guard`).
    A key for a server is taken from the environment variable ``REDTEAM_ENV_JUDGE_API_KEY``.

    Args:
        card: The name of one of ours, the path of a TOML file, or a card.
        url: The server: its root, its ``/v1``, or the whole address of the endpoint.
        model: The model's name at the server, or in process a directory or hub id; by default the
            card's.
        protocol: How it is asked. By default it follows from the url; without one, a card that allows
            it runs in this process if a model is named.
        agent: The model in process, instead of a name. Of a card whose prompt is a text (``form = "text"``)
            it goes on with the one message of a request as it stands.
        concurrency: Most requests under way at once.
        timeout: Seconds that one attempt may take.
        retries: Further attempts after a failure that may pass.
        backoff: Seconds before the first retry, doubled for each further one.
        template_file: A file with the prompt, with the card's places in it, such as ``{prompt}``; by
            default the authors' own is fetched.
        max_tokens: Longest answer, in tokens, where one that thinks first needs more than the card's.
        soft: Whether probabilities are asked for, where the protocol has them.
        canary: Whether the judge must answer plain test dialogues as such a judge would before it is
            used.
        revision: Your word for which model answers, such as its commit, where nothing else tells: behind a
            server, or an agent. It is to change whenever the model does. Verdicts can then be cached and a
            calibration found again, and results say that you vouched for it.

    Returns:
        The judge. Its ``ready()`` finds out whether it works.

    Raises:
        RedteamError: If there is no such card, the url is missing or no http address, an option is out
            of range or belongs to another protocol, or the prompt cannot be had.
    """
    own = card if isinstance(card, Card) else read_card(card)
    told = _Told(
        model=model,
        protocol=protocol,
        concurrency=concurrency,
        timeout=timeout,
        retries=retries,
        backoff=backoff,
        template_file=template_file,
        max_tokens=max_tokens,
        soft=soft,
        canary=canary,
        revision=revision,
    )
    check_values(_Told, {x.name: getattr(told, x.name) for x in dataclasses.fields(told)})
    spoken, address = _asked_how(own, url, told, agent)
    said = _revision(own, told, agent, spoken)
    if spoken == "classify":
        questions: tuple[Question[Any], ...] = (_classified(template_file),)
    else:
        questions = tuple(x for asked in own.questions for x in _questions(own, asked, told))
    if spoken == "transformers":
        backend: Backend[Any] = _in_process(own, agent, told)
    else:
        backend = _served(own, spoken, address, told, questions)
    toward = any(x.prompt_is == "goal" for x in questions)
    judge = (GoalJudge if toward else TemplateJudge)(
        content=None if spoken == "classify" else _comparison(own, told, backend),
        name=own.name,
        questions=questions,
        backend=backend,
        thresholds=dict(own.thresholds),
        smoke_only=own.smoke,
        canary=own.canary if canary else (),
        revision=said,
        notice=_notice(own, told),
        place="" if address is None else _place(own, told, address),
    )
    if not own.contextual or spoken == "classify" or template_file is not None:
        return judge
    asked = read_card(own.contextual)
    about = tuple(x for one in asked.questions for x in _questions(asked, one, told))
    return dataclasses.replace(judge, contextual=about)


def _shown(address: str) -> str:
    """Return an address without what may be secret in it."""
    return re.sub(r"//[^/]*@", "//", address.partition("?")[0])


def _place(card: Card, told: _Told, address: str) -> str:
    """Return where a judge is asked, as which model, and its settings."""
    model = [told.model] if told.model else []
    return " ".join([_shown(address), *model, _settings(card, told)])


def _comparison(card: Card, told: _Told, backend: Backend[Any]) -> Comparison[Any] | None:
    """Return what compares rewrites with their seeds; it asks the same server in its own way."""
    if card.content is None:
        return None
    plain = dataclasses.replace(told, template_file=None)
    [question] = _questions(card, card.content, plain)
    if getattr(backend, "bodies", None) is not None:
        backend = dataclasses.replace(backend, bodies=(card.content.body,))  # type: ignore[type-var]
    return Comparison(question=question, backend=backend)


def _settings(card: Card, told: _Told) -> str:
    """Return what changes with what the library makes of a dialogue and of the model's answers."""
    contextual = read_card(card.contextual) if card.contextual else None
    made = (RULES, told.soft, told.max_tokens, card, contextual)
    return hashlib.sha256(repr(made).encode("utf-8", "replace")).hexdigest()[:16]


def _revision(card: Card, told: _Told, agent: Agent | None, spoken: str) -> str:
    """Return what changes with the model, or with the settings; empty if the model is not known.

    A model that a card does not name is known by its weights in this process, and not by what a server
    calls it: two servers may give one name to two models.
    """
    model = told.model or card.hub
    if told.revision is not None:
        if spoken == "transformers" and agent is None:
            raise RedteamError(
                f"revision is {told.revision!r}, but the judge {card.name!r} runs in this process, where its "
                "weights tell which they are; leave it out."
            )
        own = _word(told.revision)
        return f"{model} {own!r} (vouched for by the user) {_settings(card, told)}".strip()
    if spoken == "classify" or agent is not None:  # neither tells what it is
        return ""
    if spoken != "transformers" and not card.hub:
        return ""
    if spoken == "transformers" and (folder := Path(model).expanduser()).is_dir():
        model = f"{model} {_sampled(folder)}"
    return f"{model} {_settings(card, told)}"


def _notice(card: Card, told: _Told) -> str | None:
    """Return what commands say at their start of a revision that nobody but the user knows."""
    if told.revision is None:
        return None
    return (
        f"That the judge {card.name} answers by its revision {_word(told.revision)!r} is vouched for by the "
        "user; change it whenever the model does."
    )


def _word(revision: str | int) -> str:
    word = str(revision).strip()
    if not 0 < len(word) <= _LONGEST_WORD or not word.isprintable():
        raise RedteamError(
            f"revision is {str(revision)[:_LONGEST_WORD]!r}; give 1 to {_LONGEST_WORD} printable characters, such "
            "as the model's commit."
        )
    return word


def _sampled(folder: Path) -> str:
    """Return a SHA-256 of a folder's files, of large ones of samples: other weights have another one."""
    found = hashlib.sha256()
    for file in sorted(x for x in folder.iterdir() if x.is_file()):
        size = file.stat().st_size
        found.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as opened:
            for start in range(0, size, max(_SAMPLE, size // _SAMPLES)):
                opened.seek(start)
                found.update(opened.read(_SAMPLE))
    return found.hexdigest()[:16]


def _asked_how(
    card: Card, url: str | None, told: _Told, agent: Agent | None
) -> tuple[str, str | None]:
    """Return the protocol, and the address of the endpoint for one that has a server."""
    protocol = told.protocol
    if protocol is not None and protocol not in card.protocols:
        raise unknown_name("protocol", protocol, card.protocols)
    local = "transformers" in card.protocols and url is None and (agent or told.model)
    if protocol == "transformers" or (protocol is None and local):
        if url is not None:
            raise RedteamError(
                f"The judge {card.name!r} is to run in this process (protocol is 'transformers'); leave "
                "the url out."
            )
        return "transformers", None
    if agent is not None:
        raise RedteamError(
            f"The judge {card.name!r} cannot be asked through an agent: {card.protocols}."
        )
    if url is None:
        raise RedteamError(
            f"The judge {card.name!r} needs a server that runs the model. {_start(card)}"
        )
    address, spoken = _endpoint(card, url, protocol)
    return spoken, address


def _start(card: Card) -> str:
    model = card.hub or "MODEL"
    here = (
        f" Or run it in this process: {card.name}?model=DIR."
        if "transformers" in card.protocols
        else ""
    )
    ours = (
        " (or Self-RedTeam's serve_wildguard, whose url ends in /classify)"
        if "classify" in card.protocols
        else ""
    )
    return (
        f"Start one with `python -m vllm.entrypoints.openai.api_server --model {model}`{ours} and give "
        f"its address: --judge-url http://127.0.0.1:8000.{here} {card.missing}"
    )


def _endpoint(card: Card, url: str, protocol: str | None) -> tuple[str, str]:
    """Complete a server's address to that of the endpoint, and say which protocol it speaks."""
    from redteam_env.utils.http import parse_url  # noqa: PLC0415 - see _served()

    parsed = parse_url(url)
    path = parsed.path.rstrip("/")
    ends = ("classify", "chat", "completions")  # that of a chat ends in that of completions, too
    ended = next((x for x in ends if path.endswith(_PATHS[x])), None)
    served = [x for x in card.protocols if x in _PATHS]
    if not served:
        raise RedteamError(f"The judge {card.name!r} runs in this process and takes no url.")
    spoken = protocol or (ended if ended in served else served[0])
    if ended is not None and ended != spoken:
        wanted = "raw completion" if spoken == "completions" else spoken
        raise RedteamError(
            f"The judge's url ends in {_PATHS[ended]}, but {card.name!r} is asked by {wanted}; give the "
            f"server's /v1{_PATHS[spoken]}, or another protocol: {', '.join(served)}."
        )
    if ended is None:
        root = "" if spoken == "classify" or path.endswith("/v1") else "/v1"
        path += root + _PATHS[spoken]
    return str(parsed.copy_with(path=path)), spoken


def _served(
    card: Card,
    spoken: str,
    address: str | None,
    told: _Told,
    questions: tuple[Question[Any], ...],
) -> Backend[Any]:
    # httpx2 takes 0.2 s to import, which the default judge, next door, need not pay
    from redteam_env.judges.backends import (  # noqa: PLC0415
        KEY_VARIABLE,
        ClassifyBackend,
        OpenAIBackend,
    )
    from redteam_env.utils.http import Endpoint  # noqa: PLC0415

    endpoint = Endpoint(
        url=address or "",
        concurrency=told.concurrency,
        timeout=told.timeout,
        retries=told.retries,
        backoff=told.backoff,
        key_variable=KEY_VARIABLE,
    )
    if spoken == "classify":
        return ClassifyBackend(endpoint=endpoint)
    if not told.model and not card.hub:
        raise RedteamError(
            f"The judge {card.name!r} is any model: name it as the server does, {card.name}?model=NAME."
        )
    bodies = [x.body for x in card.questions for _ in range(_count(x, len(questions), card))]
    return OpenAIBackend(
        endpoint=endpoint,
        model=told.model or card.hub,
        max_tokens=told.max_tokens or card.max_tokens,
        bodies=tuple(bodies),
        top=TOP[spoken] if told.soft and any(x.soft for x in card.questions) else 0,
    )


def _count(asked: QuestionCard, total: int, card: Card) -> int:
    """Return how many questions one of a card is: as many as it has guidelines."""
    if asked.guidelines is None:
        return 1
    single = sum(x.guidelines is None for x in card.questions)
    return (total - single) // (len(card.questions) - single)


def _is_text(card: Card) -> bool:
    """Whether a card's model is to go on with texts, where others are chatted with.

    Raises:
        RedteamError: If it is to do both.
    """
    asked = (*card.questions, *([] if card.content is None else [card.content]))
    forms = {x.form for x in asked}
    if "text" in forms and len(forms) > 1:
        raise RedteamError(
            f"The card of {card.name!r} asks in the forms {', '.join(sorted(forms))}; a model in this process "
            'goes on with texts (form = "text") or answers chats, so give all its questions one of the two.'
        )
    return "text" in forms


def _in_process(card: Card, agent: Agent | None, told: _Told) -> Backend[Any]:
    from redteam_env.judges.backends import AgentBackend  # noqa: PLC0415 - see _served()

    if agent is None:
        spec = told.model or card.hub
        if not spec:
            raise RedteamError(
                f"The judge {card.name!r} is any model: name it, {card.name}?model=DIR."
            )
        try:
            pool = build(
                "agents",
                "policy",
                base=spec,
                max_new_tokens=told.max_tokens or card.max_tokens,
                temperature=0.0,
            )
            agent = pool.completer() if _is_text(card) else pool.load("base", "judge")
        except RedteamError as error:
            raise RedteamError(f"{error} {card.missing}") from error
    return AgentBackend(agent=agent)


def _questions(card: Card, asked: QuestionCard, told: _Told) -> Iterator[Question[Any]]:
    """Yield the questions that one question of a card is: one for each guideline, or itself."""
    for template in _templates(card, asked, told.template_file):
        yield Question(
            template=template,
            parser=PARSERS[asked.parser],
            about=asked.about,
            soft=asked.soft if told.soft else (),
            prompt_is=asked.prompt_is,
        )


def _templates(card: Card, asked: QuestionCard, file: str | Path | None) -> Iterator[Any]:
    if asked.form == "conversation":
        if file is not None:
            raise RedteamError(
                f"template_file is {str(file)!r}, but the prompt of {card.name!r} is its model's own chat "
                "template, which the server applies; leave it out."
            )
        yield Conversation(card.guard, asked.about != "prompt")
        return
    if file is not None and len(card.questions) > 1:
        raise RedteamError(
            f"template_file is {str(file)!r}, but {card.name!r} asks several questions; write a card of "
            "your own instead."
        )
    text = _text(card, asked, file)
    system = "" if asked.system is None else asked.system.text()
    guidelines = asked.guidelines
    for principle in [""] if guidelines is None else _principles(asked):
        filled = text if guidelines is None else text.replace(guidelines.mark, principle)
        places = asked.places if file is None or guidelines is not None else _placed(text, asked)
        template = SingleTurnTemplate(filled, guard=card.guard, places=places)
        yield template if asked.form == "text" else Instruction(template, system)


def _text(card: Card, asked: QuestionCard, file: str | Path | None) -> str:
    if file is not None:
        return file_text(file)
    if asked.template is not None:
        return asked.template
    if asked.source is None:
        raise RedteamError(
            f"The prompt of {card.name!r} is in no package; take it from {card.page or 'its authors'} "
            f"and name the file: {card.name}?template_file=FILE."
        )
    return asked.source.text()


def _placed(text: str, asked: QuestionCard) -> Mapping[str, str]:
    """Return the places of a user's own template: ours, ``{prompt}``, or those of the authors'."""
    plain = {place: PLACES.get(place, f"{{{place}}}") for place in asked.places}
    return plain if all(mark in text for mark in plain.values()) else asked.places


def _principles(asked: QuestionCard) -> Iterator[str]:
    guidelines = asked.guidelines
    if guidelines is None:
        return
    for entry in guidelines.source.entries():
        name, description = entry.get("name"), entry.get("description")
        if not isinstance(name, str) or not isinstance(description, str):
            raise RedteamError(
                f"A guideline in {guidelines.source.member} has no name and description."
            )
        form = guidelines.form.replace("{name}", name)
        yield form.replace("{description}", description.strip())


def _classified(template_file: str | Path | None) -> Question[Exchange]:
    if template_file is not None:
        raise RedteamError(
            f"template_file is {str(template_file)!r}, but a /classify server has its own "
            "template; leave it out, or give a server with /v1/completions."
        )
    return Question(template=_guarded_exchange, parser=parse_classes)


_CLASSIFIED = Guard(labels=(*_SECTIONS, *WILDGUARD_LABELS))


def _guarded_exchange(dialogue: Dialogue) -> Exchange:
    return exchange(dialogue, _CLASSIFIED)
