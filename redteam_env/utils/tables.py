"""Tables that fit where they are printed: no number is ever cut or wrapped, no word is broken.

Where the columns do not fit, those that matter least are left out and named below; columns of
numbers that all matter follow in a second table below the first; rows of words are printed one
below the other.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD, Box
from rich.cells import cell_len, chop_cells
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from redteam_env.utils.text import escape_controls, safe_text

LONG = 24
"""The cells from which a word, such as a path, may be broken behind its punctuation."""
LEAST = 14
"""The fewest cells of a column of words that has more to say."""
_GAP = 2
_INDENT = 2
_PLAIN = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)
_PART = re.compile(r"(?:[^/\\_:@=&?.,-]|[.,](?=\d))*(?:[/\\_:@=&?-]|[.,](?!\d))*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes:
        heading: What stands above it.
        words: Whether its cells are text, which is broken at spaces; numbers are never broken.
        drop: When it is left out for want of room: the highest first, 0 never.
    """

    heading: str
    words: bool = False
    drop: int = 0


class FittedTable:
    """A table that is laid out for the width it is printed in.

    Args:
        *columns: Its columns; a text is the heading of a column of numbers that is never left out. The
            first column names the rows, and is one of words.
        headings: Whether the headings are printed.
    """

    def __init__(self, *columns: Column | str, headings: bool = True) -> None:
        made = [x if isinstance(x, Column) else Column(heading=x) for x in columns]
        made[0] = Column(heading=made[0].heading, words=True)
        self.columns: tuple[Column, ...] = tuple(made)
        self._headings = headings
        self._rows: list[tuple[Text, ...]] = []
        self._sections: set[int] = set()

    def row(self, *cells: str | Text) -> None:
        """Add a row, a cell for each column; plain texts are made safe."""
        made = [x if isinstance(x, Text) else safe_text(x) for x in cells]
        if len(made) != len(self.columns):
            raise ValueError(f"{len(made)} cells for {len(self.columns)} columns")
        self._rows.append(tuple(made))

    def section(self) -> None:
        """Part the rows so far from those that follow."""
        self._sections.add(len(self._rows))

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        """Lay the table out and yield what is printed."""
        width = options.max_width
        least = [self._least(k) for k in range(len(self.columns))]
        shown = self._kept(least, width)
        bands = self._bands(shown, least, width)
        if bands is None:
            yield from self._records(width)
            return
        box = _PLAIN if options.ascii_only else SIMPLE_HEAD
        for number, band in enumerate(bands):
            if number:
                yield Text("")
            yield self._laid_out(band, least, width, box)
        dropped = [x.heading for k, x in enumerate(self.columns) if k not in shown]
        if dropped:
            told = f"Not shown in {width} columns: {', '.join(dropped)}."
            yield broken(Text(escape_controls(told), "dim"), width)

    def _least(self, k: int) -> int:
        """Return the fewest cells that a column takes."""
        column = self.columns[k]
        heading = _longest(self._heading(k)) if self._headings else 0
        cells = [row[k] for row in self._rows]
        if not column.words:
            return max(heading, *(_natural(x) for x in cells), 1)
        natural = max((_natural(x) for x in cells), default=0)
        return max(heading, *(_longest(x) for x in cells), min(natural, LEAST), 1)

    def _heading(self, k: int) -> Text:
        return safe_text(self.columns[k].heading)

    def _kept(self, least: Sequence[int], width: int) -> list[int]:
        """Return the columns that fit, or that are never left out."""
        shown = list(range(len(self.columns)))
        while _width(least, shown) > width:
            last = max(shown, key=lambda k: (self.columns[k].drop, k))
            if not self.columns[last].drop:
                break
            shown.remove(last)
        return shown

    def _bands(
        self, shown: Sequence[int], least: Sequence[int], width: int
    ) -> list[list[int]] | None:
        """Return the columns of each table below the other; ``None`` if they do not fit so either."""
        first, *others = shown
        if _width(least, shown) > width and any(self.columns[k].words for k in others):
            return None
        bands = [[first]]
        for k in others:
            if len(bands[-1]) > 1 and _width(least, [*bands[-1], k]) > width:
                bands.append([first])
            bands[-1].append(k)
        return bands if all(_width(least, x) <= width for x in bands) else None

    def _laid_out(self, band: Sequence[int], least: Sequence[int], width: int, box: Box) -> Table:
        wanted = [max(least[k], *(_natural(x) for x in self._column(k))) for k in band]
        widths = _shared([least[k] for k in band], wanted, width - _GAP * (len(band) - 1))
        made = Table(
            box=box,
            show_header=self._headings,
            show_edge=False,
            pad_edge=False,
            padding=(0, 1, 0, 0),
        )
        for k, own in zip(band, widths, strict=True):
            column = self.columns[k]
            made.add_column(
                broken(self._heading(k), own),
                justify="left" if column.words else "right",
                width=own,
                no_wrap=True,
            )
        for number, row in enumerate(self._rows, start=1):
            cells = [broken(row[k], own) for k, own in zip(band, widths, strict=True)]
            made.add_row(*cells, end_section=number in self._sections)
        return made

    def _column(self, k: int) -> list[Text]:
        cells = [row[k] for row in self._rows]
        return [self._heading(k), *cells] if self._headings else cells or [Text()]

    def _records(self, width: int) -> Iterator[RenderableType]:
        """Yield the rows one below the other, a line or more for each cell."""
        for number, row in enumerate(self._rows):
            if number and number in self._sections:
                yield Text("")
            first = row[0].copy()
            first.stylize("bold")
            yield broken(first, width)
            for k, cell in enumerate(row[1:], start=1):
                if not cell.plain:
                    continue
                line = Text("")
                if self._headings:
                    line.append_text(self._heading(k)).append(": ")
                line.append_text(cell)
                yield Padding(broken(line, max(1, width - _INDENT)), (0, 0, 0, _INDENT))


def facts_table(facts: Mapping[str, str]) -> FittedTable:
    """Return names and what is known of them, without headings; empty values are left out."""
    table = FittedTable("", Column(heading="", words=True), headings=False)
    for name, value in facts.items():
        if value:
            table.row(name, value)
    return table


def broken(text: Text, width: int) -> Text:
    """Return a text with line breaks for a width: between words, and within those that are too long.

    Such a word is broken behind its punctuation, as in a path, and elsewhere only where no part of it fits.
    """
    lines: list[Text] = []
    for line in text.split("\n", allow_blank=True):
        line.expand_tabs(4)
        start = end = 0
        for begin, stop in _pieces(line.plain, width):
            if end > start and cell_len(line.plain[start:stop].rstrip()) > width:
                lines.append(_stripped(line[start:end]))
                start = begin
            end = stop
        lines.append(_stripped(line[start:end]))
    return Text("\n").join(lines)


def significant(value: float | None, digits: int = 3) -> str:
    """Return a number with so many significant digits; ``-`` for none.

    Args:
        value: The number. A whole one is printed as it is.
        digits: How many digits.
    """
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    text = f"{value:#,.{digits}g}".removesuffix(".")
    if "e" in text and 1 <= abs(value) < 1e12:
        return f"{value:,.0f}"
    return re.sub(r"\.?e([+-])0?", r"e\1", text).replace("e+", "e")


def _stripped(line: Text) -> Text:
    line.rstrip()
    return line


def _pieces(text: str, width: int) -> Iterator[tuple[int, int]]:
    """Yield where the parts of a line begin and end that a line may be broken between."""
    for word in re.finditer(r"\s*\S+\s*|\s+", text):
        begin, stop = word.span()
        if cell_len(word.group().strip()) <= width:
            yield begin, stop
            continue
        for part in _PART.finditer(text, begin, stop):
            at = part.start()
            for chopped in chop_cells(part.group(), width) if part.group() else ():
                yield at, at + len(chopped)
                at += len(chopped)


def _longest(text: Text) -> int:
    """Return the cells of the longest part of a text that is not to be broken."""
    found = [1]
    for word in text.plain.split():
        if cell_len(word) <= LONG:
            found.append(cell_len(word))
        else:
            found += [min(LONG, cell_len(x)) for x in _PART.findall(word)]
    return max(found)


def _natural(text: Text) -> int:
    return max((cell_len(line.expandtabs(4)) for line in text.plain.split("\n")), default=0)


def _width(least: Sequence[int], shown: Sequence[int]) -> int:
    return sum(least[k] for k in shown) + _GAP * (len(shown) - 1)


def _shared(least: Sequence[int], wanted: Sequence[int], room: int) -> list[int]:
    """Return widths between the least and the wanted ones, as even as the room allows."""
    widths = list(least)
    spare = room - sum(widths)
    while spare > 0:
        short = [k for k, own in enumerate(widths) if own < wanted[k]]
        if not short:
            break
        share = max(1, spare // len(short))
        for k in short:
            more = min(share, wanted[k] - widths[k], spare)
            widths[k] += more
            spare -= more
    return widths
