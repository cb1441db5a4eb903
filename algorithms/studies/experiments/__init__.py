"""Experiments: many runs from one configuration, measured alike, reported with intervals."""
