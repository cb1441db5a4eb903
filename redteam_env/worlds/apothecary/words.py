"""Where the world's invented words come from; none means anything, none names a real substance."""

SYLLABLES = (
    "vel", "mo", "ra", "thi", "nu", "sor", "bek", "la", "dri", "po", "zen", "fu",
    "kal", "wi", "ger", "osh", "tam", "ip", "ul", "che", "ny", "rox", "hab", "jo",
    "qua", "sim", "dov", "ek",
)  # fmt: skip

INGREDIENTS = (
    "ambrel", "borrin", "cindle", "dostra", "elvick", "fennow", "gastor", "hurnel",
    "ivvic", "jarrow", "kestor", "lumbra", "mirrod", "norvel", "ospin", "pallix",
    "querrin", "rastle", "sulvor", "tinnow", "ulver", "vasker", "wendle", "yarrick",
)  # fmt: skip

_STARTS = (
    "zor", "xan", "qui", "vyl", "jho", "wex", "yul", "ghe",
    "phi", "tza", "kwi", "oxu", "myr", "uzh", "cza", "eth",
)  # fmt: skip
_ENDS = ("bim", "dak", "fer", "gon", "lix", "mur", "nas", "pol", "rit", "tev", "vok", "zin")
ALIASES = tuple(start + end for start in _STARTS for end in _ENDS)

NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
)  # fmt: skip
