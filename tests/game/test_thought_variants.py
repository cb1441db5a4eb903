"""However a model marks its thought, nobody else sees it, and an answer counts only outside of it."""

import dataclasses
import json
import re
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import redteam_env
from redteam_env import Reply, Seed
from redteam_env.game import (
    PREFILL,
    Episode,
    Game,
    Thinking,
    Verdict,
    split_action,
    take_thoughts,
)
from redteam_env.game.tags import find_tags
from redteam_env.game.thinking import TAGS, cut_action

SECRET = "zebra"
WORDS = ("think", "thinking", "thought", "reasoning", "reflection", "scratchpad")


def wide(text):
    return "".join(chr(ord(x) + 0xFEE0) if "!" <= x <= "~" else x for x in text)


def pair(word, before="", after="", inside=""):
    return f"<{before}{word}{after}>", f"<{before}/{inside}{word}{after}>"


CHANNEL = (
    "<|channel|>analysis<|message|>",
    "<|end|><|start|>assistant<|channel|>final<|message|>",
)
MARKS = {
    **{word: pair(word) for word in WORDS},
    **{f"capital {word}": pair(word.capitalize()) for word in WORDS},
    "upper case": pair("THINK"),
    "mixed case": pair("tHiNkInG"),
    "space behind": pair("think", after=" "),
    "space before": pair("think", before=" "),
    "space behind the slash": pair("think", inside=" "),
    "line end inside": pair("think", after="\n"),
    "no-break space": pair("think", after="\u00a0"),
    "attribute": ("<think mode='deep'>", "</think>"),
    "long attribute": (f"<think {'x' * 500}>", "</think>"),
    "self-closing": ("<think/>", "</think>"),
    "prefixed": pair("seed:think"),
    "zero-width space": pair("th\u200bink"),
    "zero-width joiner": pair("\u200dthink"),
    "word joiner": pair("think\u2060"),
    "soft hyphen": pair("thi\u00adnk"),
    "byte-order mark": pair("\ufeffthink"),
    "direction mark": pair("t\u202ehink"),
    "grapheme joiner": pair("thi\u034fnk"),
    "variation selector": pair("think\ufe0f"),
    "null": pair("th\x00ink"),
    "full width": tuple(map(wide, pair("think"))),
    "full-width brackets": ("\uff1cthink\uff1e", "\uff1c/think\uff1e"),
    "full-width letters": pair(wide("THINK")),
    "small brackets": ("\ufe64think\ufe65", "\ufe64/think\ufe65"),
    "mathematical letters": pair("\U0001d42d\U0001d421\U0001d422\U0001d427\U0001d424"),
    "Kelvin sign": pair("thin\u212a"),
    "Kimi": ("\u25c1think\u25b7", "\u25c1/think\u25b7"),
    "angle quotes": ("\u27e8think\u27e9", "\u27e8/think\u27e9"),
    "Mistral": ("[THINK]", "[/THINK]"),
    "brackets, small": ("[think]", "[/think]"),
    "brackets, spaces": ("[ THINK ]", "[ /THINK ]"),
    "gpt-oss": CHANNEL,
    "gpt-oss without message": ("<|channel|>analysis ", "<|channel|>final"),
    "gpt-oss, commentary": ("<|channel|>commentary to=x<|message|>", CHANNEL[1]),
    "Cohere": ("<|START_THINKING|>", "<|END_THINKING|>"),
    "open thinker": ("<|begin_of_thought|>", "<|end_of_thought|>"),
    "DeepSeek bars": (
        "<\uff5cbegin\u2581of\u2581think\uff5c>",
        "<\uff5cend\u2581of\u2581think\uff5c>",
    ),
    "bars": ("<|think|>", "<|/think|>"),
    "Gemma": ("<|channel>thought\n", "<channel|>"),
    "other words around": pair("redacted_thinking"),
    "a word behind": pair("think_fast"),
    "a number behind": pair("think2"),
    "begin and end": ("<begin_thinking>", "<end_of_thinking>"),
    "brackets, begin and end": ("[BEGIN_THINKING]", "[END_THINKING]"),
    "monologue": pair("inner_monologue"),
    "a comment": ("<!-- think -->", "<!-- /think -->"),
    "HTML": ("&lt;think&gt;", "&lt;/think&gt;"),
    "a backslash": ("<think\\>", "<\\think>"),
    "Cyrillic letters": pair("th\u0456nk"),
    "an accent": pair("thi\u0307nk"),
    "heavy brackets": ("\u276ethink\u276f", "\u276e/think\u276f"),
    "lenticular brackets": ("\u3010think\u3011", "\u3010/think\u3011"),
    "division slash": ("<think>", "<\u2215think>"),
}
PAIRED = {
    "gpt-oss without tokens": ("analysis", "assistantfinal"),
    "a final response": ("", "[BEGIN FINAL RESPONSE]"),
    "braces": ("{think}", "{/think}"),
    "parentheses": ("(Thinking)", "(/Thinking)"),
    "guillemets": ("\u00abthink\u00bb", "\u00ab/think\u00bb"),
    "double angle brackets": ("\u300athink\u300b", "\u300a/think\u300b"),
    "other words in brackets": ("[THOUGHT]", "[/THOUGHT]"),
    "a fence": ("```thinking\n", "\n```\n"),
}
"""Marks that count only where they are closed, or opened."""
SHAPES = {
    "closed": "{open}zebra{close}said",
    "unclosed": "{open}zebra",
    "bare close": "zebra{close}said",
    "nested": "{open}a{open}zebra{close}zebra{close}said",
    "nested, one left open": "{open}a{open}b{close}zebra",
    "answer inside": "{open}a <answer>zebra</answer> but no",
    "answer inside, closed": "{open}a <answer>zebra</answer> but no{close}said",
    "answer inside a bare thought": "a <answer>zebra</answer> but no{close}said",
    "answer behind": "{open}zebra{close}<answer>said</answer>",
    "thought in the answer": "{open}a{close}<answer>{open}zebra{close}said</answer>",
}
MODES = tuple(Thinking)


class Listening:
    """A judge that remembers what it heard."""

    name, smoke_only = "listening", False

    def __init__(self):
        self.heard = []

    def judge(self, dialogues):
        self.heard += dialogues
        return [
            Verdict(prompt_harmful=True, response_refusal=False, response_harmful=True)
            for _ in dialogues
        ]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("mark", MARKS)
def test_case_a2_no_thought_reaches_another_seat_the_judge_or_a_screen(mark, mode):
    judge = Listening()
    env = redteam_env.env(judge=judge, thinking=mode.value, render_mode="ansi").unwrapped
    for shape in SHAPES.values():
        text = shape.format(open=MARKS[mark][0], close=MARKS[mark][1])
        # without the game's format tags mean nothing to the rules: what a model's thought is, its
        # agent says
        spoken = take_thoughts(text)
        native = Reply(text=spoken.text, thought=spoken.thought, truncated=not spoken.finished)
        for action in [native] if mode is Thinking.NONE else [text, native]:
            env.reset(seed=0, options={"rewritten": True, "seed": SEED})
            env.step(action)
            seen = json.dumps([env.observe("defender_0"), env.infos["defender_0"]])
            assert SECRET not in seen, (shape, action)
            assert SECRET not in str(
                [dataclasses.asdict(x) for x in env.session.running.dialogue.lines]
            )
            if env.session.running.to_move:
                env.step("fine")
            env.close()
    assert SECRET not in str(judge.heard)


SEED = Seed(id="s", text="a request", harmful=True, split="train")


@pytest.mark.parametrize("mark", MARKS)
def test_case_14_a_native_thought_is_taken_off_and_the_answer_stays(mark):
    opening, closing = MARKS[mark]
    for text in (f"{opening}zebra{closing}the answer", f"zebra{closing} the answer"):
        spoken = take_thoughts(text)
        assert (spoken.text, spoken.finished) == ("the answer", True)
        assert SECRET in spoken.thought
    assert take_thoughts("zebra", opened=True).text == ""
    assert not take_thoughts(f"{opening}zebra").finished


@pytest.mark.parametrize(
    "text",
    [
        "<think>I would say <answer>S</answer> but no",
        "I would say <answer>S</answer> but no</think>",
        "<reasoning>I would say <answer>S</answer>",
        "<think>a</think><think>b <answer>S</answer>",
        "<think>a<think>b</think> <answer>S</answer>",
    ],
)
@pytest.mark.parametrize("mode", [Thinking.OPTIONAL, Thinking.REQUIRED])
def test_an_answer_is_shown_only_after_the_thought_was_closed(text, mode):
    split = split_action(text, mode)
    assert (split.visible, split.forfeit) == ("", True)


@pytest.mark.parametrize("mark", PAIRED)
def test_marks_that_may_be_plain_text_count_where_they_are_closed(mark):
    opening, closing = PAIRED[mark]
    text = f"{opening}zebra{closing}said"
    assert take_thoughts(text).text == "said"
    assert split_action(text, Thinking.OPTIONAL).forfeit
    assert find_tags(f"a {opening.strip('`')} b") == []


@pytest.mark.parametrize(
    "text",
    [
        *("a < b and c > d", "<b>think</b>", "[1] thought", "I <3 thinking", "x < think"),
        *(
            "(thinking) Hm.",
            "f'{thought}'",
            "```python\nthink()\n```",
            "<thin>k</thin>",
            "&lt;b&gt;",
        ),
    ],
)
def test_ordinary_text_has_no_marks(text):
    assert find_tags(text) == []
    assert split_action(text, Thinking.OPTIONAL).visible == text


@pytest.mark.parametrize("mode", MODES)
def test_a_native_thought_is_stored_with_the_turn_and_replays(mode):
    game = Game(thinking=dict.fromkeys(("attacker_0", "defender_0"), mode))
    said = "<answer>fine</answer>"
    state = game.apply(game.start(SEED, rewritten=True), said, thought="zebra", neutralised=True)
    state = game.apply(state, "", thought="zebra and", truncated=True)
    assert [turn.native for turn in state.turns] == ["zebra", "zebra and"]
    assert all(SECRET in turn.thought for turn in state.turns)
    assert [turn.forfeit for turn in state.turns] == [False, True]
    episode = game.finish(state, None)
    assert SECRET not in str(episode.dialogue)
    assert game.replay(episode) == episode == Episode.from_json(episode.to_json())


def test_an_answer_after_a_native_thought_keeps_the_format():
    for mode in (Thinking.OPTIONAL, Thinking.REQUIRED):
        split = split_action("<answer>a</answer>", mode, thought=True)
        assert (split.visible, split.well_formed) == ("a", True)
    assert not split_action("<answer>a</answer>", Thinking.REQUIRED).well_formed


@pytest.mark.parametrize("mode", MODES)
def test_nothing_but_a_native_thought_is_forfeit(mode):
    assert split_action(" ", mode, thought=True).forfeit


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("limit", [1, 10, 40, 60])
def test_a_cut_hides_no_mark(mark, limit):
    text = f"{'zebra ' * 20}{MARKS[mark][1]}<answer>said</answer>"
    cut = cut_action(text, limit)
    assert len(cut) <= limit
    if limit >= len("</think>"):
        assert find_tags(cut)


def lines_run(work, *arguments):
    """How many lines of ours a call runs; what it does in one line must take one pass."""
    count = 0

    def trace(frame, event, _):
        nonlocal count
        if "redteam_env" not in frame.f_code.co_filename:
            return None
        count += event == "line"
        return trace

    old = sys.gettrace()
    sys.settrace(trace)
    try:
        work(*arguments)
    finally:
        sys.settrace(old)
    return count


@pytest.mark.parametrize(
    "piece",
    [
        *TAGS,
        "<think><reasoning>",
        "</think><answer>",
        "<think ",
        "< ",
        "<|channel|>",
        "<think></reasoning>",
        "<th\u200bink>",
        "[",
        "{think}",
        "a_a_a_think_a_",
        "<a_a_a_think_a_",
        "```",
        "&lt;",
        "<|channel>",
    ],
)
def test_repeated_marks_take_linear_work(piece):
    def both(length):
        text = (piece * (length // len(piece) + 1))[:length]
        for mode in (Thinking.OPTIONAL, Thinking.REQUIRED):
            split_action(text, mode)
        take_thoughts(text)

    assert lines_run(both, 20_000) <= 2.2 * lines_run(both, 10_000) + 100
    both(200_000)  # a pattern that goes back over the text would not come to its end here


pieces = st.lists(
    st.one_of(
        st.sampled_from([x for marks in MARKS.values() for x in marks]),
        st.sampled_from([*TAGS, PREFILL, " ", "\n", "<", ">", "/", "["]),
        st.integers(0, 9999).map(lambda k: f"w{k}w"),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="w"), max_size=6),
    ),
    max_size=14,
)


@given(
    pieces.map(
        lambda x: "".join(
            f"{k}:{piece}" if piece[:1] == "w" else piece for k, piece in enumerate(x)
        )
    ),
    st.sampled_from(MODES),
    st.booleans(),
)
@example("<think>1:w1w</think><answer>2:w2w</answer>", Thinking.OPTIONAL, False)
def test_any_text_is_taken_apart_without_overlap(text, mode, opened):
    split = split_action(text, mode)
    spoken = take_thoughts(text, opened=opened)
    for public, thought in ((split.visible, split.thought), (spoken.text, spoken.thought)):
        marked = set(re.findall(r"\d+:w\d+w", public)) & set(re.findall(r"\d+:w\d+w", thought))
        assert marked == set()
    assert split.visible in text
    assert not find_tags_of_thoughts(spoken.text)
    assert not (split.forfeit and split.visible)


def find_tags_of_thoughts(text):
    return [tag for tag in find_tags(text) if tag.name != "answer"]
