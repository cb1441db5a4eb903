"""Rows of different lengths as one array, written down anew."""

import numpy as np


def pad(rows):
    """Return rows side by side, 0 where one is shorter, and the mask of what is there."""
    longest = max(len(row) for row in rows)
    values = np.stack(
        [np.pad(np.asarray(row, dtype=float), (0, longest - len(row))) for row in rows]
    )
    return values, np.arange(longest) < np.array([[len(row)] for row in rows])
