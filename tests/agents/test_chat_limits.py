"""Which tokenizers can carry the game, how long prompts are cut, what of an answer is text."""

import pytest
from tiny_models import tiny_tokenizer

from agents.lora.chat import ChatCodec
from redteam_env.game import RedteamError

RULES = "These rules must stay whole."


def messages(*turns: str) -> list[dict[str, str]]:
    roles = ["user", "assistant"]
    spoken = [{"role": roles[k % 2], "content": text} for k, text in enumerate(turns)]
    return [{"role": "system", "content": RULES}, *spoken]


def control_count(codec: ChatCodec, ids) -> int:
    return sum(i in codec.control_ids for i in ids)


@pytest.mark.parametrize("limit", [120, 150, 400])
def test_long_prompts_are_cut_to_the_limit_and_keep_rules_and_structure(style, limit):
    whole = ChatCodec(tiny_tokenizer(style), max_prompt_tokens=100_000)
    codec = ChatCodec(tiny_tokenizer(style), max_prompt_tokens=limit)
    told = messages("A" * 300, "B" * 900, "C" * 40)
    ids = codec.encode(told, "<think> ")
    assert len(ids) == limit
    assert control_count(codec, ids) == control_count(whole, whole.encode(told))
    text = codec.decode(ids)
    assert RULES in text
    assert text.endswith("<think> ")


def test_the_longest_text_is_cut_first_and_at_its_end(style):
    codec = ChatCodec(tiny_tokenizer(style), max_prompt_tokens=220)
    text = codec.decode(codec.encode(messages("x" * 500, "short answer", "last question")))
    assert "short answer" in text
    assert "last question" in text
    assert 0 < text.count("x") < 500


def test_a_prompt_within_the_limit_is_left_alone(style):
    codec = ChatCodec(tiny_tokenizer(style))
    exact = len(codec.encode(messages("hello")))
    tight = ChatCodec(tiny_tokenizer(style), max_prompt_tokens=exact)
    assert tight.encode(messages("hello")) == codec.encode(messages("hello"))


def test_rules_over_the_limit_are_an_error_that_names_it():
    codec = ChatCodec(tiny_tokenizer(), max_prompt_tokens=70)
    with pytest.raises(RedteamError, match="max_prompt_tokens = 70"):
        codec.encode([{"role": "system", "content": "r" * 200}, {"role": "user", "content": "hi"}])


def test_a_model_without_chat_template_is_refused():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(RedteamError, match=r"no chat template.*instruct"):
        ChatCodec(tokenizer)


def test_a_slow_tokenizer_is_refused():
    class Slow:
        name_or_path = "slow"
        chat_template = "{{ messages }}"
        is_fast = False

    with pytest.raises(RedteamError, match=r"'slow'.*tokenizer\.json"):
        ChatCodec(Slow())


def test_a_tokenizer_without_end_of_sequence_is_refused_unless_the_model_names_one():
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(RedteamError, match="eos_token"):
        ChatCodec(tokenizer)
    assert ChatCodec(tokenizer, stop_ids=(258,)).stop_ids == {258}


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{% if m['role'] != 'system' %}{{ m['content'] }}{% endif %}{% endfor %}",
        "{% for m in messages %}{{ m['content'] }}{{ m['content'] }}{% endfor %}",
        "{{ messages[-1]['content'] }}",
    ],
)
def test_a_template_that_drops_or_repeats_messages_is_refused(template):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(RedteamError, match="drops or repeats"):
        ChatCodec(tokenizer)


@pytest.mark.parametrize(
    "template",
    ["{{ raise_exception('only one turn') }}", "{% for m in messages %}{{ m['content'] }"],
)
def test_a_template_that_fails_altogether_is_refused_with_its_reason(template):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(RedteamError, match="template"):
        ChatCodec(tokenizer)


def test_decoding_drops_control_tokens_and_keeps_the_text(style):
    codec = ChatCodec(tiny_tokenizer(style))
    control = sorted(codec.control_ids)
    ids = [control[0], *codec.content_ids("Grüße, 世界"), control[-1], *codec.stop_ids]
    assert codec.decode(ids) == "Grüße, 世界"


def test_half_a_character_becomes_a_replacement_character():
    codec = ChatCodec(tiny_tokenizer())
    assert codec.decode(codec.content_ids("世")[:2]) == "\N{REPLACEMENT CHARACTER}"
