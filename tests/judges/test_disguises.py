"""Texts that are disguised by other means than those that the guard knows of are seen through, too.

They are drawn here from Unicode's own names and its table of confusables (UTS #39, ``confusables.txt``), and
read by a reader of its own.
"""

import functools
import html
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from injections import ANSWERS, pieces

from redteam_env.judges import card_names, neutralise, read_card

CONFUSABLES = {
    line[0]: line[2:]
    for line in (Path(__file__).parent / "confusables.txt").read_text("utf-8").splitlines()
}
KINDS = (
    "FULLWIDTH LATIN {case} LETTER {x}",
    "MATHEMATICAL BOLD {case} {x}",
    "MATHEMATICAL SANS-SERIF BOLD ITALIC {case} {x}",
    "MATHEMATICAL DOUBLE-STRUCK {case} {x}",
    "MATHEMATICAL FRAKTUR {case} {x}",
    "MATHEMATICAL MONOSPACE {case} {x}",
    "DOUBLE-STRUCK {case} {x}",
    "SCRIPT {case} {x}",
    "BLACK-LETTER {case} {x}",
    "CIRCLED LATIN {case} LETTER {x}",
    "SQUARED LATIN {case} LETTER {x}",
    "NEGATIVE CIRCLED LATIN {case} LETTER {x}",
    "NEGATIVE SQUARED LATIN {case} LETTER {x}",
    "REGIONAL INDICATOR SYMBOL LETTER {x}",
    "MODIFIER LETTER {case} {x}",
    "LATIN SUBSCRIPT {case} LETTER {x}",
    "LATIN LETTER SMALL CAPITAL {x}",
    "LATIN {case} LETTER {x} WITH ACUTE",
    "LATIN {case} LETTER {x} WITH DIAERESIS",
    "LATIN {case} LETTER {x} WITH DOT BELOW",
)
UNSEEN = (
    *(chr(x) for x in (0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0x061C, 0x2060, 0x2064, 0xFEFF)),
    *(chr(x) for x in (0x202A, 0x202D, 0x202E, 0x2066, 0x2067, 0x2068, 0x2069, 0x180E, 0x00AD)),
    *(chr(x) for x in (0xFE00, 0xFE0F, 0xE0100, 0xE0001, 0xE0061, 0xE007F, 0x1D173, 0xFFF9)),
    *(chr(x) for x in (0x0300, 0x0336, 0x0338, 0x0489, 0x0332, 0x20DD, 0x20E3, 0x034F, 0x0670)),
)
FOREIGN = (
    *("<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|start_header_id|>", "<|END_OF_TURN_TOKEN|>"),
    *(
        "[INST]",
        "[/INST]",
        "<<SYS>>",
        "<</SYS>>",
        "<s>",
        "</s>",
        "<start_of_turn>",
        "<end_of_turn>",
    ),
    *(
        "<bos>",
        "<pad>",
        "<|user|>",
        "<|assistant|>",
        "<|channel|>",
        "[gMASK]",
        "<sop>",
        "<unused0>",
    ),
    *("<extra_id_1>", "<reserved_106>", "[AVAILABLE_TOOLS]", "[control_8]"),
)


@functools.cache
def looks(char):
    """What looks like a character, in all the ways that Unicode's names and its table know."""
    found = [*CONFUSABLES.get(char, "")]
    if char.isalpha():
        case = "CAPITAL" if char.isupper() else "SMALL"
        for kind in KINDS:
            try:
                found.append(unicodedata.lookup(kind.format(case=case, x=char.upper())))
            except KeyError:
                continue
    elif "!" <= char <= "~":
        found.append(chr(ord(char) + 0xFEE0))
    return found or [char]


def spelled(char):
    code = ord(char)
    return [
        *(f"&#{code};", f"&#x{code:x};", f"&#{code:05};", f"\\u{code:04x}", f"\\x{code:02X}"),
        *(f"\\u{{{code:x}}}", f"\\U{code:08x}", f"%{code:02X}", html.escape(char)),
    ]


WAYS = ("plain", "look-alike", "unseen", "spelled", "upper", "look-alike and unseen")
ENDS = ("\n", "\r\n", "\u2028", "\u0085", "\n\u200f", "\n \u2067", "\\n", "&#10;", "&#xA;")


@st.composite
def disguised(draw, piece):
    """A piece of a prompt, each of its characters disguised in one of the ways drawn for it."""
    ways = draw(st.lists(st.sampled_from(WAYS), min_size=1, max_size=3))
    shown = []
    for char in piece:
        way = draw(st.sampled_from(ways))
        if char == "\n" or (char == " " and "unseen" not in way):
            shown.append(char)
            continue
        if "look-alike" in way:
            char = draw(st.sampled_from(looks(char)))  # noqa: PLW2901 - it is what is shown
        if way == "spelled":
            char = draw(st.sampled_from(spelled(char)))  # noqa: PLW2901
        if way == "upper":
            char = char.upper()  # noqa: PLW2901
        shown.append(char)
        if "unseen" in way:
            shown += draw(st.lists(st.sampled_from(UNSEEN), max_size=2))
    return "".join(shown)


@st.composite
def attempts(draw, name):
    """A text with a disguised piece of a card's prompt or answer, perhaps doubled or in another one."""
    piece = draw(st.sampled_from(list(pieces(name))))
    first, second = draw(disguised(piece)), draw(disguised(piece))
    end = draw(st.sampled_from(ENDS))
    middle = draw(st.integers(1, max(1, len(piece) - 1)))
    form = draw(
        st.sampled_from(
            [
                f"Sure.{end}{first}",
                f"Sure.{end}{first} {ANSWERS[read_card(name).questions[0].parser]}{end}{second}",
                f"Sure.{end}{first}{second}",
                f"Sure.{end}{piece[:middle]}{first}{piece[middle:]}",
                f"Sure.{end}{piece[:1]}{first}{piece[-1:]}",
            ]
        )
    )
    return piece, form


DECODED = {
    look: char
    for char, every in CONFUSABLES.items()
    for look in every
    if not unicodedata.normalize("NFKD", look).isascii()
}
DECODED |= {
    look: x
    for x in map(chr, range(ord("A"), ord("Z") + 1))
    for look in looks(x)
    if re.search("NEGATIVE|REGIONAL|SMALL CAPITAL", unicodedata.name(look, ""))
}


def read(text):
    """Return a text as somebody reads it who sees no difference between what looks alike."""
    text = html.unescape(text)
    text = re.sub(r"\\u\{([0-9a-f]+)\}", lambda x: chr(int(x[1], 16)), text)
    spelled_out = r"\\(?:u([0-9a-f]{4})|x([0-9a-f]{2})|U([0-9a-f]{8}))"
    text = re.sub(spelled_out, lambda x: chr(int(x[x.lastindex], 16)), text, flags=re.IGNORECASE)
    text = re.sub(r"%([2-7][0-9a-fA-F])", lambda x: chr(int(x[1], 16)), text).replace("\\n", "\n")
    text = re.sub("\r\n|[\r\u0085\u2028]", "\n", text)
    text = "".join(DECODED.get(x, x) for x in text)
    text = unicodedata.normalize("NFKD", text)
    text = "".join(DECODED.get(x, x) for x in text)
    text = "".join(x for x in text if x == "\n" or unicodedata.category(x)[0] not in "CM")
    return text.casefold().translate(str.maketrans("l1|o", "iii0"))


@functools.cache
def pattern(piece):
    words = r"(?:(?!\n)[\W_])*".join(map(re.escape, read(piece).split()))
    if piece[:1].isalnum() or piece.startswith("#"):
        return re.compile(
            r"^(?:(?![\n>])[\W\d_])*?" + words + ("" if piece[-1] == ":" else r"(?!\w)"),
            re.MULTILINE,
        )
    if piece == "---":
        return re.compile(r"^[^\S\n]*---[^\S\n]*$", re.MULTILINE)
    return re.compile(words)


@pytest.mark.parametrize("name", card_names())
def test_no_disguise_that_unicode_knows_hides_a_piece_of_a_judges_prompt(name):
    guard = read_card(name).guard

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(attempts(name))
    def seen_through(attempt):
        piece, text = attempt
        guarded = guard(text)
        assert not pattern(piece).search(read(guarded)), (piece, text, guarded)
        assert guard(guarded) == guarded

    seen_through()


FOREIGN_PATTERNS = [re.compile(re.escape(read(x))) for x in FOREIGN]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.sampled_from(FOREIGN).flatmap(disguised), st.sampled_from(["", "<", "[", "<|", "[/", "&lt;"])
)
def test_tokens_of_other_chat_templates_are_broken_too(token, doubled):
    guarded = neutralise(f"Sure. {doubled}{token} Hello")
    assert not any(x.search(read(guarded)) for x in FOREIGN_PATTERNS), guarded
    assert neutralise(guarded) == guarded
