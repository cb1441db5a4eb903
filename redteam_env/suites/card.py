"""What a suite is, as its card says: a TOML file ``cards/NAME.toml``, or a user's own by its path.

A card::

    title = "XSTest"
    source = "Röttger et al. 2023, XSTest, arXiv:2308.01263"   # the paper
    licence = "CC-BY-4.0"
    judge = "wildguard"             # the judge that its metric is read with
    note = "..."                    # what is uncertain or ours

    [metric]                        # of the labels that are played: which of METRICS is the suite's own
    harmful = "refusal"
    benign = "compliance"

    [prompt]
    form = "direct"                 # or context, or template with {request} in it
    template = "..."

    [decoding]
    temperature = 0.0
    max_tokens = 512

    [[data]]                        # where the requests come from; several parts are joined
    hub = "walledai/XSTest"         # an id of the hub; or seeds = "NAME", a registered seed source;
                                    # or file = "PATH", taken from the folder of the card
    hf_split = "test"               # and config, revision
    page = "the page with its terms"
    columns = { text = "prompt", label = "label" }   # options as of ``--seeds FILE?...``

Adding a suite means adding a file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from redteam_env.game import Count, RedteamError, at_least, check_fields, unknown_name
from redteam_env.utils.reading import parse_toml, read_toml

Metric = Literal["success", "compliance", "refusal", "graded"]
METRICS: tuple[Metric, ...] = ("success", "compliance", "refusal", "graded")
"""What a suite may be measured by; four different things, whatever a paper calls them.

``success``: the answer is harmful. ``compliance``: it does not refuse. ``refusal``: it refuses.
``graded``: how harmful it is, from 0 to 1.
"""
Form = Literal["direct", "context", "template"]
FORMS: tuple[Form, ...] = ("direct", "context", "template")
"""How a suite's requests may be put: as they stand, with a context before them, inside a text."""
Label = Literal["harmful", "benign"]
LABELS: tuple[Label, ...] = ("harmful", "benign")
REQUEST_SLOT = "{request}"
ENDING = ".toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPart:
    """Where some of a suite's requests come from: a seed source, a data set of the hub, or a file.

    Attributes:
        seeds: A registered seed source, such as ``strongreject``.
        file: A local file or folder, as one's own card names it.
        hub: Id of a data set of the hub.
        config: Its configuration.
        hf_split: Its split.
        revision: Commit, tag or branch.
        page: The page on which the set's licence or terms stand.
        columns: How the set, or a file of its shape, is read:
            options of :data:`redteam_env.seeds.columns.OPTIONS`.
    """

    seeds: str | None = None
    file: str | None = None
    hub: str | None = None
    config: str | None = None
    hf_split: str | None = None
    revision: str | None = None
    page: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self, "data.")
        if self.seeds is not None and self.columns:
            raise RedteamError(
                f"data.seeds is {self.seeds!r}, a seed source that reads itself; give no columns beside it."
            )
        given = [x for x in ("seeds", "file", "hub") if getattr(self, x) is not None]
        if len(given) > 1:
            raise RedteamError(f"data has {' and '.join(given)}; give one of them.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteCard:
    """A suite.

    Attributes:
        name: What it is called; a user's own card is called as its file.
        title: Its name in tables.
        source: The paper.
        licence: Of the data.
        data: Where its requests come from.
        metric: For each label that is played, which of :data:`METRICS` is the suite's own.
        form: How a request is put: ``direct`` as it stands, ``context`` with its context before it,
            ``template`` inside a text.
        template: That text, with ``{request}`` once.
        temperature: Sampling temperature of the defender's model; 0 is greedy.
        max_tokens: Its longest answer.
        judge: The judge that the metric is meant to be read with.
        note: What is uncertain, or differs from the paper.
    """

    name: str
    title: str
    source: str
    licence: str
    data: Sequence[DataPart]
    metric: Mapping[str, str]
    form: Form = "direct"
    template: str = REQUEST_SLOT
    temperature: Annotated[float, at_least(0)] = 0.0
    max_tokens: Count = 512
    judge: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.data:
            raise RedteamError("data is missing; give at least one [[data]].")
        if not self.metric:
            raise RedteamError("metric is empty; give harmful = ..., benign = ..., or both.")
        for label, metric in self.metric.items():
            if label not in LABELS:
                raise unknown_name("label in metric", label, LABELS, guess=False)
            check_metric(metric, label)
        wanted = int(self.form == "template")
        if self.template.count(REQUEST_SLOT) != 1 or (self.template != REQUEST_SLOT) != wanted:
            raise RedteamError(
                f"prompt.template is {self.template!r} and prompt.form {self.form!r}; the form "
                f"'template', and no other, has a text with {REQUEST_SLOT} once."
            )


def is_card(table: Mapping[str, Any]) -> bool:
    """Whether what a TOML file holds is meant as a suite's card."""
    return "metric" in table


def check_metric(metric: str, label: str) -> None:
    """Refuse what a label cannot be measured by.

    Raises:
        RedteamError: If the metric is unknown, or asks for harm where requests are benign.
    """
    known = METRICS if label == "harmful" else ("compliance", "refusal")
    if metric not in known:
        raise unknown_name(f"metric of {label} requests", metric, known)


def card_names() -> tuple[str, ...]:
    """Return the names of the built-in cards."""
    return _names("cards")


def group_names() -> tuple[str, ...]:
    """Return the names of the built-in groups of suites."""
    return _names("groups")


def _names(folder: str) -> tuple[str, ...]:
    root = resources.files("redteam_env.suites") / folder
    files = (file.name for file in root.iterdir() if file.name.endswith(ENDING))
    return tuple(sorted(name.removesuffix(ENDING) for name in files))


def read_card(name: str) -> SuiteCard:
    """Return a card.

    Args:
        name: A name of :func:`card_names`, or the path of a card.

    Raises:
        RedteamError: If there is none, or the file is no card: the text names the place and the field.
    """
    table, place = read_table("cards", name)
    folder = Path(name).expanduser().parent
    try:
        card = _card(Path(name).stem, table)
        parts = [replace(x, file=str(folder / x.file)) if x.file else x for x in card.data]
        return replace(card, data=tuple(parts))
    except RedteamError as error:
        raise RedteamError(f"The suite card {place}: {error}") from error


def read_table(folder: str, name: str) -> tuple[dict[str, Any], str]:
    """Return the table of a built-in file or a user's own, and what to call it in messages.

    Args:
        folder: ``cards`` or ``groups``.
        name: The name of a built-in one, or a path that ends in ``.toml``.

    Raises:
        RedteamError: If it cannot be read.
    """
    if name.endswith(ENDING):
        return read_toml(Path(name).expanduser(), remedy="See redteam_env.suites.card."), repr(name)
    file = resources.files("redteam_env.suites") / folder / f"{name}{ENDING}"
    return parse_toml(file.read_text(encoding="utf-8"), place=name), repr(name)


def _card(name: str, table: Mapping[str, Any]) -> SuiteCard:
    own = dict(table)
    prompt = _section(own, "prompt", ("form", "template"))
    decoding = _section(own, "decoding", ("temperature", "max_tokens"))
    parts = own.pop("data", [])
    if not isinstance(parts, list):
        raise RedteamError("data is no list; write [[data]] above each part.")
    data = tuple(DataPart(**known_fields(DataPart, part, "data.")) for part in parts)
    given = known_fields(SuiteCard, own, "", without=("name", "data", *prompt, *decoding))
    return SuiteCard(name=name, data=data, **given, **prompt, **decoding)


def _section(own: dict[str, Any], name: str, allowed: Sequence[str]) -> dict[str, Any]:
    section = own.pop(name, {})
    if not isinstance(section, dict):
        raise RedteamError(f"{name} is {section!r}; write [{name}] with {', '.join(allowed)}.")
    for key in section:
        if key not in allowed:
            raise unknown_name(f"field of {name}", key, allowed)
    return section


def known_fields(
    kind: Any, table: Any, where: str, *, without: Sequence[str] = ()
) -> dict[str, Any]:
    """Return a table of a file as the arguments of a dataclass.

    Args:
        kind: The dataclass; it checks the values itself.
        table: What the file holds.
        where: What stands before a field's name in messages.
        without: Fields that the table may not give.

    Raises:
        RedteamError: If it is no table, gives what is no field, or lacks one without a default.
    """
    if not isinstance(table, Mapping):
        raise RedteamError(f"{where or 'the file'} holds {table!r}; give a table.")
    allowed = {x.name: x for x in fields(kind) if x.name not in without}
    for name in table:
        if name not in allowed:
            raise unknown_name(f"field {where}", name, allowed)
    for name, own in allowed.items():
        if name not in table and own.default is own.default_factory:  # both missing
            raise RedteamError(f"{where}{name} is missing; give it.")
    return dict(table)
