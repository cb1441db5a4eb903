"""Lists in options: several names in one text, with commas between them."""


def listed(text: str | None) -> tuple[str, ...]:
    """Return the parts of a list with commas, each once and without the spaces around it."""
    parts = (part.strip() for part in (text or "").split(","))
    return tuple(dict.fromkeys(part for part in parts if part))
