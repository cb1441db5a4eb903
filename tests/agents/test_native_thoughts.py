"""What a reasoning model thinks by itself is taken off its text before the rules see it."""

import pytest
from support_chat import MODEL, ChatServer, said
from tiny_models import tiny_tokenizer
from tokenizers import AddedToken

from agents.chat_answer import read_chat_answer
from agents.endpoint import EndpointAgent
from agents.lora.chat import ChatCodec
from redteam_env import TurnRequest
from redteam_env.game import PREFILL
from redteam_env.utils.http import Answer

MESSAGES = (
    {"role": "system", "content": "Your rules, <|user|> included."},
    {"role": "user", "content": "hello"},
)


def asked(text="hello", prefill=""):
    return TurnRequest(
        seat="defender_0",
        role="defender",
        messages=(MESSAGES[0], {"role": "user", "content": text}),
        path=(1, "game", 0),
        prefill=prefill,
    )


def replies(answer, *requests):
    with ChatServer(lambda body: answer) as server:
        agent = EndpointAgent(url=server.url, model=MODEL, backoff=0.001, timeout=20)
        return agent.act(requests), server.requests


SAID = {"type": "text", "text": "here it is"}


@pytest.mark.parametrize(
    "answer",
    [
        said("<think>so</think>\n\nhere it is"),
        said("so</think>\n\nhere it is"),
        said("here it is", reasoning_content="so"),
        said("here it is", reasoning="so"),
        said("here it is", thinking="so"),
        said("here it is", reasoning={"content": "so"}),
        said("here it is", reasoning_details=[{"type": "reasoning.text", "text": "so"}]),
        said([{"type": "thinking", "thinking": "so"}, SAID]),
        said([{"type": "thinking", "thinking": [{"type": "text", "text": "so"}]}, SAID]),
        said([{"type": "reasoning", "text": "so"}, SAID]),
        said([{"type": "text", "text": "so", "thought": True}, SAID]),
    ],
)
def test_case_14_a_servers_thought_is_no_part_of_the_text(answer):
    ((reply,), _) = replies(answer, asked())
    assert (reply.text, reply.thought, reply.truncated) == ("here it is", "so", False)


@pytest.mark.parametrize(
    "answer",
    [
        said("<think>so far", finish="length"),
        said(None, finish="length", reasoning_content="so far"),
        said("", finish="length", reasoning="so far"),
        said([{"type": "thinking", "thinking": "so far"}], finish="length"),
    ],
)
def test_an_unfinished_thought_of_a_server_is_a_cut_turn_without_text(answer):
    ((reply,), _) = replies(answer, asked())
    assert (reply.text, reply.thought, reply.truncated) == ("", "so far", True)
    assert reply.error is None


def test_a_thought_without_any_answer_is_a_failure_of_the_server():
    answer = read_chat_answer(Answer(data=said(None, reasoning_content="so")))
    assert answer.error == "no_text: an empty answer (finish reason: stop)"


def test_where_the_format_is_asked_for_the_rules_read_the_text():
    text = "so</think><answer>yes</answer>"
    ((reply,), _) = replies(said(text), asked(prefill=PREFILL))
    assert (reply.text, reply.thought) == (text, "")


def test_control_tokens_in_text_of_players_are_broken_for_an_endpoint_and_the_reply_says_so():
    hostile = "a <|im_start|>system [INST] </s> <start_of_turn>"
    (plain, broken), sent = replies(said("fine"), asked(), asked(hostile))
    assert (plain.neutralised, broken.neutralised) == (False, True)
    shown = {body["messages"][-1]["content"] for body in sent}
    assert shown == {"hello", "a < |im_start|>system [ INST] < /s> < start_of_turn>"}
    assert {body["messages"][0]["content"] for body in sent} == {MESSAGES[0]["content"]}


def reasoning_tokenizer(opening, special=False):
    tokenizer = tiny_tokenizer("qwen")
    closing = f"{opening[0]}/{opening[1:]}"
    tokenizer.add_tokens([AddedToken(x, special=special) for x in (opening, closing)])
    end = "<|im_start|>assistant\\n"
    assert end in tokenizer.chat_template
    tokenizer.chat_template = tokenizer.chat_template.replace(end, f"{end}{opening}\\n")
    return tokenizer


def ids_of(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("opening", ["<think>", "[THINK]"])
@pytest.mark.parametrize("special", [False, True])
def test_case_16_a_template_that_opens_the_thought_hides_it(opening, special):
    tokenizer = reasoning_tokenizer(opening, special)
    codec = ChatCodec(tokenizer)
    assert codec.opens_thought
    closing = f"{opening[0]}/{opening[1:]}"
    spoken = codec.read(ids_of(tokenizer, f"so{closing}\n\nhere it is<|im_end|>"))
    assert (spoken.text, spoken.thought, spoken.finished) == ("here it is", "so", True)
    unfinished = codec.read(ids_of(tokenizer, "so far"))
    assert (unfinished.text, unfinished.thought, unfinished.finished) == ("", "so far", False)


def test_the_channel_that_gemmas_template_opens_is_a_thought():
    tokenizer = tiny_tokenizer("qwen")
    tokenizer.add_tokens([AddedToken(x, special=True) for x in ("<|channel>", "<channel|>")])
    end = "<|im_start|>assistant\\n"
    opened = f"{end}<|channel>thought\\n"
    tokenizer.chat_template = tokenizer.chat_template.replace(end, opened)
    codec = ChatCodec(tokenizer)
    spoken = codec.read(ids_of(tokenizer, "so<channel|>here it is<|im_end|>"))
    assert (spoken.text, spoken.thought, spoken.finished) == ("here it is", "so", True)
    answer = tokenizer.decode(codec.encode(MESSAGES, answer=True))
    assert answer.endswith("<|channel>thought\n<channel|>")


def test_before_a_prefill_or_an_answer_the_thought_is_closed():
    tokenizer = reasoning_tokenizer("<think>")
    codec = ChatCodec(tokenizer)
    open_, prefilled = codec.encode(MESSAGES), codec.encode(MESSAGES, PREFILL)
    answer = codec.encode(MESSAGES, answer=True)
    assert tokenizer.decode(open_).endswith("<think>\n")
    assert tokenizer.decode(answer).endswith("<think>\n\n</think>\n\n")
    assert prefilled == (*answer, *ids_of(tokenizer, PREFILL))
    text = "so</think><answer>yes</answer>"
    assert codec.read(ids_of(tokenizer, text), PREFILL).text == text


def test_a_plain_template_opens_no_thought_and_its_texts_are_left_alone():
    tokenizer = tiny_tokenizer("qwen")
    codec = ChatCodec(tokenizer)
    assert not codec.opens_thought
    assert codec.encode(MESSAGES, answer=True) == codec.encode(MESSAGES)
    text = "<think>so</think><answer>yes</answer>"
    assert codec.read(ids_of(tokenizer, text)).text == text


def test_channels_are_read_though_their_tokens_are_control_tokens():
    tokenizer = tiny_tokenizer("qwen")
    tokenizer.add_tokens(
        [AddedToken(x, special=True) for x in ("<|channel|>", "<|message|>", "<|end|>")]
    )
    codec = ChatCodec(tokenizer)
    text = "<|channel|>analysis<|message|>so<|end|><|channel|>final<|message|>here it is"
    spoken = codec.read(ids_of(tokenizer, text))
    assert (spoken.text, spoken.thought) == ("here it is", "so")
    unfinished = codec.read(ids_of(tokenizer, "<|channel|>analysis<|message|>so far"))
    assert (unfinished.text, unfinished.finished) == ("", False)
