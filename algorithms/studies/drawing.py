"""Plots of reports: matplotlib in a style of ours, and SVG files that are whole or absent.

The same figure makes the same file, so that a report drawn again differs only where its numbers do.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redteam_env.utils.files import write_aside

_STYLE = {"svg.hashsalt": "redteam-env", "font.size": 9}


@contextmanager
def drawing(style: Mapping[str, Any]) -> Iterator[Any]:
    """Yield ``matplotlib.pyplot`` with its defaults, whatever the user has set, and a style over them.

    Args:
        style: Parameters of matplotlib.
    """
    import matplotlib as mpl  # noqa: PLC0415 - slow to import, and only reports draw
    from matplotlib import pyplot as plt  # noqa: PLC0415 - the same

    parameters: Any = {**mpl.rcParamsDefault, **_STYLE, **style}
    with mpl.rc_context(parameters):
        yield plt


def save(plt: Any, figure: Any, file: Path) -> None:
    """Write a figure as SVG, whole or not at all, and close it."""
    figure.tight_layout()
    with write_aside(file) as partial:
        figure.savefig(partial, format="svg", metadata={"Date": None})
    plt.close(figure)
