"""Showing a game to people: as text (``ansi``) or printed part by part (``human``).

A viewer sees everything, thoughts included. All texts are hostile: control characters are spelled
out, and the lines of one text are marked, so that none can pretend to be another part.
"""

from dataclasses import dataclass

from gymnasium import logger
from rich.console import Console

from redteam_env.envs.session import Session
from redteam_env.game import Episode, GameState, Turn, Verdict
from redteam_env.utils.text import escape_controls, safe_text


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a game that is printed in one style; its text is safe to print."""

    text: str
    style: str = ""


def render(session: Session, mode: str | None) -> str | None:
    """Show the game.

    Args:
        session: The game.
        mode: ``ansi`` returns the whole game so far as text; ``human`` prints what was not printed
            yet; ``None`` warns.

    Returns:
        Text under ``ansi``, otherwise ``None``.

    Raises:
        RedteamError: If no game was started.
    """
    parts = story(session.running, session.episode)
    if mode == "ansi":
        return "\n".join(part.text for part in parts)
    if mode == "human":
        console = Console()
        for part in parts[session.printed :]:
            console.print(safe_text(part.text, part.style), soft_wrap=True)
        session.printed = len(parts)
    else:
        logger.warn('render() shows nothing without a render_mode; give "ansi" or "human".')
    return None


def story(state: GameState, episode: Episode | None) -> list[Part]:
    """Tell a game: its seed, its turns and, once it is over, its outcome.

    Args:
        state: The game.
        episode: The finished game, or ``None`` while it runs.

    Returns:
        Parts in order; a later state only adds parts at the end.
    """
    label = "harmful" if state.seed.harmful else "benign"
    way = "to be rewritten" if state.rewritten else "raw"
    parts = [Part(f"seed ({label}, {way}): {_safe(state.seed.text)}", "bold")]
    for turn in state.turns:
        parts += _turn(turn)
    if episode is not None:
        parts += _outcome(episode)
    return parts


def _turn(turn: Turn) -> list[Part]:
    parts = [Part(f"{turn.seat} thinks: {_safe(turn.thought)}", "dim")] if turn.thought else []
    marks = "" if turn.well_formed else " [malformed]"
    marks += " [cut]" if turn.truncated else ""
    if turn.error is not None:
        return [*parts, Part(f"{turn.seat} has no answer", "yellow")]
    if turn.forfeit:
        return [*parts, Part(f"{turn.seat}{marks} forfeits", "yellow")]
    return [*parts, Part(f"{turn.seat}{marks}: {_safe(turn.visible)}", "cyan")]


def _outcome(episode: Episode) -> list[Part]:
    parts = []
    if episode.void is not None:
        parts.append(Part(f"void: {_safe(episode.void)}", "yellow"))
    elif episode.verdict is not None:
        parts.append(Part(f"verdict: {_verdict(episode.verdict)}", "magenta"))
    for seat, reward in episode.rewards.items():
        components = ", ".join(f"{k} {v:+g}" for k, v in episode.components[seat].items())
        parts.append(Part(f"{seat} gets {reward:+g}" + (f" ({components})" if components else "")))
    return parts


def _verdict(verdict: Verdict) -> str:
    prompt = {True: "harmful", False: "harmless", None: "unread"}[verdict.prompt_harmful]
    answer = "refused" if verdict.response_refusal else "answered"
    harm = "harmful" if verdict.response_harmful else "harmless"
    return f"{prompt} prompt, {answer}, {harm} response"


def _safe(text: str) -> str:
    return escape_controls(text).replace("\n", "\n  | ")
