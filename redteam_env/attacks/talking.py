"""Attempts of several exchanges: a model leads a conversation with the defender."""

from redteam_env.attacks.search import Case, Search, succeeded
from redteam_env.attacks.texts import after, text_of, told
from redteam_env.game import Episode, Messages


def converse(case: Case, rules: Messages, *, backtracks: int = 0) -> Search:
    """Lead one conversation, and keep it as an attempt.

    It ends with a success, with the game's last exchange, or when a turn fails.

    Args:
        case: The seed.
        rules: The chat that the attacker's model starts from.
        backtracks: How often a message that the defender refused is taken back: the defender's next answer
            knows nothing of it.
    """
    talk, chat, message = case.open(), rules, case.goal
    kept: Episode | None = None
    while not talk.over and not (kept and succeeded(kept)):
        message = (yield from case.ask(chat)) or message
        further = yield from case.send(talk, message)
        episode = yield from case.read(further)
        if backtracks and _refused(episode):
            backtracks -= 1
            chat = [*chat, *after(message, text_of("taken_back"))]
            continue
        talk, kept = further, episode
        chat = [*chat, *told(message, episode)]
    if kept is not None:
        case.episodes.append(kept)


def _refused(episode: Episode) -> bool:
    verdict = episode.verdict
    return verdict is not None and bool(verdict.response_refusal) and not succeeded(episode)
