"""Callbacks that a run may name with ``--callback``, one file each; the head of each names its paper."""
