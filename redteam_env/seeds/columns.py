"""From the rows of somebody's table to seeds: which column is what, and which cells mean what.

Files and data sets of the hub share these options. Nothing is guessed from cells: a value that is
in neither list of labels is an error that names row, value and both lists.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redteam_env.game import RedteamError, Seed, unknown_name
from redteam_env.seeds.source import DEFAULT_HELDOUT, DEFAULT_MAX_CHARS, stable_split

Row = tuple[int, Mapping[str, Any]]
"""A row's number, as the user counts them, and its cells by column."""

OPTIONS = {
    "text": "column with the request (default: text)",
    "label": "column with the label (default: harmful)",
    "harmful": "label cells that mean harmful, separated by | (default: true|1|yes|harmful)",
    "benign": "label cells that mean benign (default: false|0|no|benign|unharmful)",
    "all": "harmful or benign: the label of every row, instead of a label column",
    "category": "column with the category (default: category, if there is one)",
    "split": "column with train or heldout/test/validation (default: split, if there is one; "
    "empty: none)",
    "heldout": f"held-out share where there is no split column (default: {DEFAULT_HELDOUT})",
    "max_chars": f"most characters of a text (default: {DEFAULT_MAX_CHARS})",
}
_HARMFUL = "true|1|yes|harmful"
_BENIGN = "false|0|no|benign|unharmful"
_SPLITS = {"train": "train", "training": "train"} | dict.fromkeys(
    ("heldout", "held-out", "held_out", "test", "validation", "valid", "val", "dev", "eval"),
    "heldout",
)


def check_options(source: str, given: Iterable[str], allowed: Iterable[str]) -> None:
    """Refuse options that a seed source does not know.

    Raises:
        RedteamError: Naming the first unknown one and all that are allowed.
    """
    known = tuple(allowed)
    for name in given:
        if name not in known:
            raise unknown_name(f"option of the seed source {source!r}:", name, known)


def refuse_arguments(source: str, argument: str | None, options: Mapping[str, str]) -> None:
    """Refuse anything after the name of a source that is one fixed data set.

    Raises:
        RedteamError: If there is an argument or an option.
    """
    if argument is not None or options:
        extra = argument if argument is not None else next(iter(options))
        raise RedteamError(
            f"The seed source {source!r} is one fixed data set and takes neither an argument nor "
            f"options besides only=harmful|benign; remove {extra!r}."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """How a table is read.

    Attributes:
        text: Column with the request.
        label: Column with the label, or ``None`` if every row has the label ``all_harmful``.
        harmful: Cells that mean harmful, case-folded.
        benign: Cells that mean benign, case-folded.
        all_harmful: The label of every row where there is no label column.
        category: Column with the category, or ``None`` for ``category`` if there is one.
        split: Column with the split; ``None`` for ``split`` if there is one, empty for none.
        heldout: Held-out share without a split column, or ``None`` for the default.
        max_chars: Most characters of a text.
    """

    text: str = "text"
    label: str | None = "harmful"
    harmful: tuple[str, ...] = tuple(_HARMFUL.split("|"))
    benign: tuple[str, ...] = tuple(_BENIGN.split("|"))
    all_harmful: bool | None = None
    category: str | None = None
    split: str | None = None
    heldout: float | None = None
    max_chars: int = DEFAULT_MAX_CHARS

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> "Columns":
        """Read the options of :data:`OPTIONS`; others are not looked at.

        Raises:
            RedteamError: If a value is wrong or two options contradict each other.
        """
        harmful, benign = (
            tuple(value.strip().casefold() for value in options.get(name, default).split("|"))
            for name, default in (("harmful", _HARMFUL), ("benign", _BENIGN))
        )
        both = sorted(set(harmful) & set(benign))
        if both:
            raise RedteamError(
                f"The label {both[0]!r} is listed as harmful and as benign; "
                "set both options, harmful=... and benign=..., so that they differ."
            )
        every = options.get("all")
        if every not in (None, "harmful", "benign"):
            raise RedteamError(f"all={every} is no label; write all=harmful or all=benign.")
        clash = [name for name in ("label", "harmful", "benign") if name in options]
        if every and clash:
            raise RedteamError(
                f"all={every} labels every row, so {clash[0]}={options[clash[0]]} has no meaning; "
                "give one of the two."
            )
        return cls(
            text=options.get("text", "text"),
            label=None if every else options.get("label", "harmful"),
            harmful=harmful,
            benign=benign,
            all_harmful=every == "harmful" if every else None,
            category=options.get("category"),
            split=options.get("split"),
            heldout=_share(options),
            max_chars=_limit(options),
        )

    def in_use(self) -> tuple[str, ...]:
        """Return the names of the columns that are looked at, some of which may not be there."""
        names = (self.text, self.label, self.category or "category", self.split or "split")
        return tuple(name for name in names if name)

    def read(self, rows: Iterable[Row], columns: Sequence[str], where: str) -> list[Seed]:
        """Make one seed of each row.

        Args:
            rows: The rows with their numbers.
            columns: All columns there are.
            where: Name of the table, used in ids (``where:row``) and errors.

        Returns:
            The seeds in the order of the rows.

        Raises:
            RedteamError: If a named column is missing or a cell cannot be read.
        """
        self.check(columns, where)
        category = self._optional("category", self.category, columns)
        split = self._optional("split", self.split, columns)
        if split and self.heldout is not None:
            raise RedteamError(
                f"{where}: the column {split!r} gives the splits, so heldout={self.heldout} has no "
                "meaning; leave it out, or write split= to ignore the column."
            )
        share = DEFAULT_HELDOUT if self.heldout is None else self.heldout
        seeds = []
        for number, cells in rows:
            place = f"{where}, row {number}"
            text = cells.get(self.text)
            if not isinstance(text, str) or not text.strip():
                raise RedteamError(
                    f"{place}: the column {self.text!r} holds {text!r} instead of a text; fill it "
                    "in or remove the row."
                )
            seeds.append(
                Seed(
                    id=f"{where}:{number}",
                    text=text,
                    harmful=self._label_of(cells, place),
                    category=_category(cells.get(category)) if category else "",
                    split=_split(cells, split, place) if split else stable_split(text, share),
                )
            )
        return seeds

    def check(self, columns: Sequence[str], where: str) -> None:
        """Check that every column that is named is there.

        Raises:
            RedteamError: Naming the column, all that there are, and the option to set.
        """
        wanted = {"text": self.text, "label": self.label}
        wanted |= {"category": self.category or None, "split": self.split or None}
        for option, name in wanted.items():
            if name is not None and name not in columns:
                cure = f"Name another with {option}=COLUMN"
                if option == "label":
                    cure += ", or say all=harmful or all=benign"
                raise RedteamError(
                    f"{where} has no column {name!r} for the {option}; its columns are "
                    f"{', '.join(repr(column) for column in columns)}. {cure}."
                )

    @staticmethod
    def _optional(default: str, named: str | None, columns: Sequence[str]) -> str:
        if named is not None:
            return named
        return default if default in columns else ""

    def _label_of(self, cells: Mapping[str, Any], place: str) -> bool:
        if self.label is None:
            return bool(self.all_harmful)
        value = _plain(cells.get(self.label))
        if value in self.harmful:
            return True
        if value in self.benign:
            return False
        raise RedteamError(
            f"{place}: the column {self.label!r} holds {cells.get(self.label)!r}, which is neither "
            f"harmful ({' | '.join(self.harmful)}) nor benign ({' | '.join(self.benign)}); extend "
            "the lists with harmful=A|B and benign=C|D."
        )


def _plain(cell: Any) -> str:
    """A cell as lower-case text: true for True, 1 for 1.0, empty for nothing."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return str(cell).strip().casefold()


def _category(cell: Any) -> str:
    if isinstance(cell, list | tuple):
        return "/".join(str(part) for part in cell)
    return "" if cell is None else str(cell).strip()


def _split(cells: Mapping[str, Any], column: str, place: str) -> str:
    value = _plain(cells.get(column))
    if value not in _SPLITS:
        raise RedteamError(
            f"{place}: the column {column!r} holds {cells.get(column)!r}, which is no split; "
            f"known are {', '.join(_SPLITS)}. Write split= to ignore the column."
        )
    return _SPLITS[value]


def _share(options: Mapping[str, str]) -> float | None:
    if "heldout" not in options:
        return None
    try:
        share = float(options["heldout"])
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise RedteamError(f"heldout={options['heldout']} is no share; give 0 to 1, such as 0.2.")
    return share


def _limit(options: Mapping[str, str]) -> int:
    value = options.get("max_chars", str(DEFAULT_MAX_CHARS))
    if not value.isdecimal() or int(value) < 1:
        raise RedteamError(f"max_chars={value} is no limit; give a whole number above 0.")
    return int(value)
