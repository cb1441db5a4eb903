"""The command ``quickstart``: two arrangements trained side by side, watched, and played all against all."""
