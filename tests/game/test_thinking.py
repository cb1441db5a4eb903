import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from redteam_env.game import PREFILL, Thinking, split_action
from redteam_env.game.tags import find_thoughts
from redteam_env.game.thinking import TAGS, Split, Spoken, cut_action, take_thoughts

TAGGED_MODES = (Thinking.OPTIONAL, Thinking.REQUIRED)
ALL_MODES = tuple(Thinking)

words = st.sampled_from([f"w{k}" for k in range(30)])
soup = st.lists(
    st.one_of(
        st.sampled_from(TAGS), words, st.sampled_from([" ", "\n", "Let's think step by step."])
    ),
    max_size=12,
).map(" ".join)
tagless = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(
    lambda text: text.strip() and not any(tag in text for tag in TAGS)
)


def answer_part(text):
    """The text of the only answer part, by an own definition; None if there is none or several.

    Nor is there one within a thought: one that was opened before, or that is closed after it.
    """
    opened, closed = text.count("<answer>"), text.count("</answer>")
    if (opened, closed) != (1, 1) or text.index("<answer>") > text.index("</answer>"):
        return None
    before, _, rest = text.partition("<answer>")
    inside, _, after = rest.partition("</answer>")
    inside = inside.strip()
    depth = 0
    for tag in re.findall("</?think>", before):
        depth = depth + 1 if tag == "<think>" else max(0, depth - 1)
    if depth:
        return None
    for tag in re.findall("</?think>", after):
        depth += 1 if tag == "<think>" else -1
        if depth < 0:
            return None
    return inside if inside and "<think>" not in inside and "</think>" not in inside else None


@given(soup, st.sampled_from(TAGGED_MODES))
@example("<think>w1</think><answer>w2</answer>", Thinking.REQUIRED)
@example("<think>w1<answer>w2</answer></think>", Thinking.OPTIONAL)
@example("w1</answer><answer>w2", Thinking.OPTIONAL)
def test_only_the_single_answer_part_is_ever_visible(text, mode):
    split = split_action(text, mode)
    tagged = any(tag in text for tag in TAGS)
    if mode is Thinking.OPTIONAL and not tagged:
        assert split.visible == text
        assert split.thought == ""
        assert split.well_formed
        return
    expected = answer_part(text)
    assert split.forfeit == (expected is None)
    assert split.visible == (expected or "")
    for word in re.findall(r"w\d+", text):
        assert word in re.findall(r"w\d+", f"{split.visible} {split.thought}")


@given(soup, st.sampled_from(TAGGED_MODES))
def test_leak_on_violation_shows_malformed_texts_whole_and_well_formed_ones_not(text, mode):
    strict = split_action(text, mode)
    leaky = split_action(text, mode, leak_on_violation=True)
    assert leaky.well_formed == strict.well_formed
    assert not leaky.forfeit
    assert leaky == strict if strict.well_formed else leaky.visible == text


@given(soup, st.booleans())
def test_without_thinking_tags_mean_nothing(text, leak):
    split = split_action(text, Thinking.NONE, leak_on_violation=leak)
    assert (split.visible, split.thought, split.well_formed, split.forfeit) == (
        text,
        "",
        True,
        False,
    )


@given(
    tagless,
    tagless,
    st.sampled_from(TAGGED_MODES),
    st.sampled_from(["", "<think>", "<think> ", PREFILL, " \n<think>"]),
    st.sampled_from(["", " ", "\n\n"]),
)
def test_every_well_formed_text_is_taken_apart(thought, answer, mode, start, gap):
    text = f"{start}{thought}</think>{gap}<answer>{answer}</answer>{gap}"
    split = split_action(text, mode)
    assert split.well_formed
    assert split.visible == answer.strip()
    assert split.thought == thought.strip()


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "",
        "<answer>a</answer>",
        "<think>t</think> a",
        "<think>t</think> a <answer>b</answer>",
        "<think>t</think><answer>a</answer> more",
        "<think>t</think><answer></answer>",
        "<think> </think><answer>a</answer>",
        "<think>t<think>u</think><answer>a</answer>",
        "<think>t</think></think><answer>a</answer>",
        "<think>t</think><answer>a</answer><answer>b</answer>",
        "<think>t</think><answer>a",
        "<think>t",
        "<THINK>t</THINK><ANSWER>a</ANSWER>",
    ],
)
def test_required_thinking_marks_every_deviation(text):
    assert not split_action(text, Thinking.REQUIRED).well_formed


@pytest.mark.parametrize(
    ("text", "visible", "thought"),
    [
        ("<think>t</think><answer>a</answer> more", "a", "t</think> more"),
        ("<answer>a</answer>", "a", ""),
        ("before <answer> a </answer>", "a", "before"),
    ],
)
def test_malformed_turns_show_their_only_answer(text, visible, thought):
    split = split_action(text, Thinking.REQUIRED)
    assert (split.visible, split.thought, split.forfeit) == (visible, thought, False)


@given(soup, st.sampled_from(ALL_MODES), st.booleans())
def test_a_forfeit_shows_nothing(text, mode, leak):
    split = split_action(text, mode, leak_on_violation=leak)
    if split.forfeit:
        assert split.visible == ""
        assert not split.well_formed


@pytest.mark.parametrize("tag", TAGS)
def test_a_text_whose_tags_are_all_cut_off_ends_with_the_first_of_them(tag):
    text = "x" * 30 + tag + "more"
    assert cut_action(text, 20) == "x" * (20 - len(tag)) + tag


def test_a_text_as_long_as_the_limit_is_whole():
    assert cut_action("<think>", 7) == "<think>"


@pytest.mark.parametrize("leak", [True, False])
@pytest.mark.parametrize("mode", Thinking)
def test_nothing_but_a_native_thought_is_forfeit(mode, leak):
    split = split_action("  ", mode, thought=True, leak_on_violation=leak)
    assert split == Split("", "  ", well_formed=False, forfeit=True)


def test_a_malformed_text_leaks_whole_and_its_answer_is_shown_else():
    text = "<answer>A</answer> and more"
    leaked = split_action(text, Thinking.REQUIRED, leak_on_violation=True)
    assert leaked == Split(text, "", well_formed=False, forfeit=False)
    shown = split_action(text, Thinking.REQUIRED)
    assert shown == Split("A", "and more", well_formed=False, forfeit=False)
    plain = split_action("A", Thinking.OPTIONAL)
    assert plain == Split("A", "", well_formed=True, forfeit=False)


def test_a_thought_within_an_answer_is_not_well_formed():
    split = split_action("hm</think><answer>A<reasoning>B</answer>", Thinking.REQUIRED)
    assert not split.well_formed
    assert "B" not in split.visible


def test_what_stands_between_native_thoughts_is_said_line_by_line():
    spoken = take_thoughts("a<think>one</think>b<think>two</think>c")
    assert spoken == Spoken("a\nb\nc", "one\ntwo", finished=True)


def test_native_thoughts_nest_and_close_by_their_own_mark_only():
    assert take_thoughts("<think>a<think>b</think>c</think>d").text == "d"
    stray = take_thoughts("<think>a</think>b<reasoning>c</think>d")
    assert (stray.text, stray.finished) == ("b", False)


@pytest.mark.parametrize(
    "text",
    [
        "a<th\x80ink>x</th\x80ink>y",  # a control character that shows nothing
        "a<think\x85b>x</think>y",  # a line end of Unicode before an attribute
        "a<re\ufb02ection>x</re\ufb02ection>y",  # one character for two letters
    ],
)
def test_a_mark_is_found_however_its_letters_are_written(text):
    assert take_thoughts(text).text == "a\ny"


def test_a_thought_that_the_template_opened_begins_with_the_text():
    assert take_thoughts("abc</think>d", opened=True) == Spoken("d", "abc", finished=True)
    assert find_thoughts("abc", []) == []


@pytest.mark.parametrize(
    "text",
    [
        "<THINK[THINK]",
        "<think[/think]a",
        "a<reasoning [think]b",
        "a</think x]b[/think]",
        "<<think>x</think>think>y",
        "[<think>x</think>think]y",
        "</<think>x</think>think>y",
        "<|<think>a</think>channel|>analysis b",
    ],
)
def test_no_mark_is_left_where_a_thought_was_taken_off(text):
    left = take_thoughts(text).text
    assert take_thoughts(left) == Spoken(left)


def test_an_answer_is_shown_though_a_thought_follows_at_once():
    split = split_action("<answer>A</answer><think>B", Thinking.REQUIRED)
    assert (split.visible, split.forfeit) == ("A", False)
