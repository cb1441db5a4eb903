"""Chat templates of others: rendered as transformers does, and ended where they do not end."""

import json
import threading

import pytest
from tiny_models import LLAMA3, NO_SYSTEM, QWEN, SMOLLM, tiny_tokenizer

from agents.lora.chat import ChatCodec
from agents.rendering import CHATML, LimitError, RenderingError, render, render_here
from redteam_env.game import RedteamError

DIALOGUE = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hällo"},
    {"role": "assistant", "content": "Hi <there>"},
    {"role": "user", "content": "Bye"},
]
EXOTIC = (
    "{%- set ns = namespace(n=0, last='') -%}\n"
    "{% macro turn(m) %}[{{ m.role | upper }}] {{ m['content'] | trim }}{% endmacro %}\n"
    "{% for m in messages %}\n"
    "  {% if m.role == 'system' %}{% continue %}{% endif %}\n"
    "  {%- set ns.n = ns.n + 1 %}\n"
    "  {%- if ns.n > 2 %}{% break %}{% endif %}\n"
    "  {% generation %}{{ turn(m) }}{% endgeneration %}\n"
    "{% endfor %}\n"
    "{{ messages | tojson }} {{ {'b': 1, 'a': 'ü'} | tojson(indent=2, sort_keys=True) }}\n"
    "{{ dict(a=1) }} {{ bos_token }} {{ date_string }} {{ enable_thinking }} {{ tools is none }}\n"
    "{{ messages[::-1][0].content.split('y')[0] }} {{ '%s-%d' | format('x', 3) }} {{ 'a' ~ 1 }}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
DOUBLING = "{% set x = 'a' %}" + "{% set x = x ~ x %}" * 60 + "{{ x | length }}"
HOSTILE = {
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "loops in a filter": "{{ range(99999) | map('list') | list }}{{ range(99999)|list * 90000 }}",
    "doubles a text": DOUBLING,
    "doubles a block": "{% set x %}ab{% endset %}"
    + "{% set x %}{{ x }}{{ x }}{% endset %}" * 40
    + "{{ x }}",
    "nests lists": "{% set x = ['a'] %}" + "{% set x = [x, x] %}" * 45 + "{{ x }}",
    "multiplies": "{{ 'a' * 10 ** 11 }}",
    "pads": "{{ 'a'.ljust(10 ** 10) }}",
    "takes powers": "{{ 9 ** 9 ** 9 }}",
    "calls itself": "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
    "branches": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}"
    "{{ m(50) }}",
    "writes without end": "{% for a in range(99999) %}{% for b in range(999) %}spam{% endfor %}{% endfor %}",
    "is large": "{# " + "x" * 400_000 + " #}",
    "is nested deeply": "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    "reaches for classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "reaches by a namespace": "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
    "is broken": "{% for %}",
    "refuses": "{{ raise_exception('not\nthis') }}",
}


@pytest.mark.parametrize("template", [QWEN, SMOLLM, LLAMA3, EXOTIC], ids=str.__len__)
def test_a_template_renders_as_transformers_renders_it(template):
    tokenizer = tiny_tokenizer("llama3")
    tokenizer.chat_template = template
    options = {"date_string": "01 Jan 2026", "enable_thinking": False}
    wanted = tokenizer.apply_chat_template(
        DIALOGUE, tokenize=False, add_generation_prompt=True, **options
    )
    variables = json.dumps({**tokenizer.special_tokens_map, **options})
    assert render(template, json.dumps(DIALOGUE), variables) == wanted


def test_our_own_template_is_rendered_without_a_process_and_equally():
    assert CHATML == QWEN
    other = CHATML + "{# another #}"
    assert render(other, json.dumps(DIALOGUE), "{}") == render_here(CHATML, DIALOGUE, {})


@pytest.mark.parametrize("kind", HOSTILE)
def test_case_template_that_loops_or_explodes_is_refused_in_one_line_on_any_thread(kind):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = HOSTILE[kind]
    found: list[str] = []

    def make():
        with pytest.raises(RedteamError) as caught:
            ChatCodec(tokenizer)
        found.append(str(caught.value))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join(120)
    assert len(found) == 1
    assert "chat template of ''" in found[0]
    assert "\n" not in found[0]


def test_a_limit_is_told_from_a_refusal():
    with pytest.raises(RenderingError, match="no system") as caught:
        render(NO_SYSTEM, json.dumps(DIALOGUE), "{}")
    assert not isinstance(caught.value, LimitError)
    with pytest.raises(LimitError, match="seconds"):
        render(HOSTILE["loops"], json.dumps(DIALOGUE), "{}")
    with pytest.raises(LimitError, match="MiB of memory"):
        render(DOUBLING, json.dumps(DIALOGUE), "{}")


def test_the_working_directory_lends_the_process_no_module(tmp_path, monkeypatch):
    for name in ("json", "jinja2"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    assert render("{{ 'kept' }} ", "[]", "{}") == "kept "
