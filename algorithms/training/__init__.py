"""Runs: the trainer and what it needs."""
