"""Stable-Baselines3 at one seat."""
