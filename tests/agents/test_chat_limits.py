"""Which tokenizers can carry the game, how long prompts are cut, what of an answer is text."""

import json

import pytest
from tiny_models import save_tiny, tiny_qwen, tiny_tokenizer
from transformers import Qwen2Config, Qwen2ForCausalLM

from agents.lora.chat import ChatCodec
from agents.lora.config import PolicyConfig
from agents.lora.policy import make_codec
from agents.models import load_base
from redteam_env.game import Framed, RedteamError

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


def test_rules_around_a_players_text_in_the_user_turn_stay_whole(style):
    codec = ChatCodec(tiny_tokenizer(style), max_prompt_tokens=220)
    framed = Framed(("Before it. ", "x" * 500, " After it."))
    ids = codec.encode([{"role": "user", "content": framed}])
    assert len(ids) == 220
    text = codec.decode(ids)
    assert "Before it. x" in text
    assert "x After it." in text
    roomy = ChatCodec(tiny_tokenizer(style), max_prompt_tokens=2000)
    plain = [{"role": "user", "content": str(framed)}]
    assert roomy.encode([{"role": "user", "content": framed}]) == roomy.encode(plain)


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


def test_case_48_says_that_the_models_context_is_the_limit(tmp_path):
    model = tiny_qwen()
    model.config.max_position_embeddings = 256
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    codec = make_codec(load_base(str(tmp_path), device="cpu"), PolicyConfig(max_new_tokens=48))
    assert codec.max_prompt_tokens == 208
    with pytest.raises(RedteamError) as caught:
        codec.encode([{"role": "system", "content": "s" * 300}, {"role": "user", "content": "a"}])
    assert "longer than 208 tokens" in str(caught.value)
    assert f"context of 256 tokens of {str(tmp_path)!r}" in str(caught.value)
    assert "max_new_tokens = 48" in str(caught.value)
    assert "raise" not in str(caught.value)


def save_with_token(directory, token: str, **named: str):
    """Write a tiny model of 264 rows whose tokenizer has as many words and one more token."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([f"<|spare_{k}|>" for k in range(264 - len(tokenizer))])
    tokenizer.add_special_tokens({"additional_special_tokens": [token], **named})
    tiny_qwen().save_pretrained(directory)
    return tokenizer


def test_case_11_a_template_token_beyond_the_embedding_is_refused_at_load(tmp_path):
    tokenizer = save_with_token(tmp_path, "<|turn|>")
    tokenizer.chat_template = tokenizer.chat_template.replace("<|im_start|>", "<|turn|>")
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(RedteamError, match=r"264 rows.*template uses.*'<\|turn\|>'.*id 264"):
        make_codec(load_base(str(tmp_path), device="cpu"), PolicyConfig())


@pytest.mark.parametrize("name", ["pad_token", "eos_token", "bos_token"])
def test_a_named_token_beyond_the_embedding_is_refused_at_load(tmp_path, name):
    save_with_token(tmp_path, "<|turn|>", **{name: "<|turn|>"}).save_pretrained(tmp_path)
    with pytest.raises(RedteamError, match=r"264 rows.*names.*'<\|turn\|>'"):
        make_codec(load_base(str(tmp_path), device="cpu"), PolicyConfig())


def test_a_token_of_other_media_beyond_the_embedding_is_never_used(tmp_path):
    save_with_token(tmp_path, "<image_soft_token>").save_pretrained(tmp_path)
    codec = make_codec(load_base(str(tmp_path), device="cpu"), PolicyConfig())
    prompt = codec.encode([{"role": "user", "content": "a <image_soft_token> b"}])
    assert max(prompt) < 264


def test_the_tokenizer_of_a_larger_model_is_refused_at_load(tmp_path):
    save_tiny(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    small = Qwen2Config(**{**config, "vocab_size": 200, "eos_token_id": 100})
    Qwen2ForCausalLM(small).save_pretrained(tmp_path)
    with pytest.raises(RedteamError, match="200 rows in its embedding"):
        make_codec(load_base(str(tmp_path), device="cpu"), PolicyConfig())
