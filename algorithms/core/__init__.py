"""The engine under the algorithms."""
