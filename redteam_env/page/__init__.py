"""The report that people open in a browser: one file with tables, charts and a browser of games.

A page requests nothing, runs nothing but its own script, and treats what models wrote as text. Directories are
read in :mod:`redteam_env.page.sources`, put into sections in :mod:`redteam_env.page.sections`, and games become
data in :mod:`redteam_env.page.games`; the template, the style and the script lie in ``assets/``.
"""

from redteam_env.page.inspect_log import write_logs
from redteam_env.page.make import MOST_GAMES, Made, check_free, make_page
from redteam_env.page.sources import Games, Kind, Source, read_sources

__all__ = [
    "MOST_GAMES",
    "Games",
    "Kind",
    "Made",
    "Source",
    "check_free",
    "make_page",
    "read_sources",
    "write_logs",
]
