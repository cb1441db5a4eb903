"""The tabular game: the controlled world with tactics for texts."""
