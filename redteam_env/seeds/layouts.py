"""Published data sets whose files are read without naming their columns: ``FILE?layout=NAME``.

A layout stands for options of :data:`redteam_env.seeds.columns.OPTIONS`; those that the user gives
count instead. Files of such a set differ a little from place to place, so a layout may name several
columns for one thing, of which the first that is there is taken, in upper or lower case.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from redteam_env.game import RedteamError, unknown_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How the files of a data set are read.

    Attributes:
        columns: For each option that names a column, the columns it may be. Only the first, for the
            request, and a label must be there.
        known_by: Columns that together tell the set from others, in lower case.
        labels: What labels every row where no column does: words in the file's name with their label,
            or one label under the empty word.
        citation: What to cite.
    """

    columns: Mapping[str, tuple[str, ...]]
    known_by: frozenset[str]
    labels: Mapping[str, str] = field(default_factory=dict)
    citation: str

    def options(
        self, given: Mapping[str, str], columns: Sequence[str], name: str
    ) -> dict[str, str]:
        """Return the options that it stands for, with those that are given.

        Args:
            given: The user's options.
            columns: All columns there are.
            name: The file's name.

        Raises:
            RedteamError: If nothing says what label the rows have.
        """
        there = {column.casefold(): column for column in reversed(columns)}
        found = {}
        for option, names in self.columns.items():
            tops = [x for x in names if x.partition(".")[0].casefold() in there]
            if tops:
                top, dot, rest = tops[0].partition(".")
                found[option] = there[top.casefold()] + dot + rest
        if "all" in given:
            found.pop("label", None)
        elif "label" not in given and "label" not in found:
            found["all"] = self._label(name)
        return found | dict(given)

    def _label(self, name: str) -> str:
        for word, label in self.labels.items():
            if word in name.casefold():
                return label
        raise RedteamError(
            f"{name} has neither a column of labels nor a name that says which part of the set it is; "
            "add &all=harmful or &all=benign behind its layout."
        )


LAYOUTS = {
    "harmbench": Layout(
        columns={
            "text": ("Behavior", "prompt"),
            "context": ("ContextString", "context"),
            "category": ("SemanticCategory", "category"),
        },
        known_by=frozenset({"behavior", "functionalcategory", "contextstring"}),
        labels={"": "harmful"},
        citation="Mazeika et al. 2024, HarmBench, arXiv:2402.04249",
    ),
    "jailbreakbench": Layout(
        columns={"text": ("Goal",), "category": ("Category",)},
        known_by=frozenset({"goal", "target", "behavior", "category"}),
        labels={"benign": "benign", "harmful": "harmful"},
        citation="Chao et al. 2024, JailbreakBench, arXiv:2404.01318",
    ),
    "xstest": Layout(
        columns={"text": ("prompt",), "label": ("label",), "category": ("type",)},
        known_by=frozenset({"prompt", "type", "label", "focus"}),
        citation="Röttger et al. 2023, XSTest, arXiv:2308.01263",
    ),
    "or-bench": Layout(
        columns={"text": ("prompt",), "category": ("category",)},
        known_by=frozenset(),
        labels={"toxic": "harmful", "80k": "benign", "hard": "benign"},
        citation="Cui et al. 2024, OR-Bench, arXiv:2405.20947",
    ),
    "verl": Layout(
        columns={
            "text": ("prompt",),
            "label": ("reward_model.ground_truth",),
            "category": ("data_source",),
        },
        known_by=frozenset({"data_source", "prompt", "reward_model"}),
        citation="Sheng et al. 2024, HybridFlow, arXiv:2409.19256",
    ),
}


def layout_named(name: str) -> Layout:
    """Return a layout.

    Raises:
        RedteamError: If there is none of that name.
    """
    if name not in LAYOUTS:
        raise unknown_name("layout", name, LAYOUTS)
    return LAYOUTS[name]


def layout_of(columns: Sequence[str]) -> str | None:
    """Return the name of the layout that a table's columns belong to, ``None`` if they tell nothing."""
    there = {column.casefold() for column in columns}
    return next((x for x, y in LAYOUTS.items() if y.known_by and y.known_by <= there), None)
