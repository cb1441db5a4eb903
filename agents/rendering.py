"""Chat templates of others, rendered in a process of their own that can be ended.

A template is a program. Jinja's sandbox keeps it from files and from Python's objects, but has no limit
of time or memory: two lines can double a text sixty times, or loop for a day. Neither a signal (main
thread and POSIX only) nor a thread (cannot be ended) nor a tracer (sees nothing within one operation)
stops that everywhere, ending a process does. The child starts in some 60 ms, and what it rendered is
remembered, so a process pays that once or twice for each model.

This file is both sides: imported, it starts itself as a script. Its environment is that of
``transformers``' chat templates, which would take the child a second to import.
"""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

Dialogue = Sequence[Mapping[str, str]]

MOST_SECONDS = 2.0
"""Processor time of a rendering, Python's start included; plain templates take a twentieth of it."""
MOST_WAIT = 60.0
"""Time on the clock, for machines that are busy with other things."""
MOST_BYTES = 2**30
"""Memory of the child."""
MOST_CHARACTERS = 2**18
"""Length of a template, and of what it makes of a dialogue without its contents."""
_POLL = 0.02
_START = "import json, runpy, sys; sys.path[:] = json.loads(sys.argv[1]); runpy.run_path(sys.argv[2], run_name='__main__')"

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""The template of the models that we make: it is rendered without a process."""


class RenderingError(Exception):
    """A template did not render."""


class LimitError(RenderingError):
    """A template passed a limit."""


class _Generation(jinja2.ext.Extension):
    """The tag ``generation``, with which templates mark what the model wrote; it changes no text."""

    tags = {"generation"}  # noqa: RUF012 - as jinja declares it

    def parse(self, parser: Any) -> Any:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


class _Dict:
    """``dict`` without what else its class offers."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _Namespace(jinja2.utils.Namespace):
    """``namespace`` without private names, which are a way out of the sandbox."""

    def __setitem__(self, name: str, value: Any) -> None:
        _check_public(name)
        super().__setitem__(name, value)


def _namespace(*args: Any, **kwargs: Any) -> _Namespace:
    names = dict(*args, **kwargs)
    for name in names:
        _check_public(name)
    return _Namespace(names)


def _check_public(name: object) -> None:
    if str(name).startswith("_"):
        raise jinja2.exceptions.SecurityError(f"the name {name!r} is private")


def _environment() -> jinja2.sandbox.ImmutableSandboxedEnvironment:
    made = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    made.filters["tojson"] = _to_json
    made.globals["raise_exception"] = _raise
    made.globals["strftime_now"] = _now
    made.globals["dict"] = _Dict()
    made.globals["namespace"] = _namespace
    return made


def _to_json(value: Any, **options: Any) -> str:
    return json.dumps(value, **{"ensure_ascii": False, **options})


def _raise(message: object) -> None:
    raise jinja2.TemplateError(str(message))


def _now(form: str) -> str:
    return datetime.now().strftime(form)  # noqa: DTZ005 - local time, as transformers gives it


def render_here(template: str, dialogue: Dialogue, variables: Mapping[str, Any]) -> str:
    """Render a template in this process, without limits of time and memory: for templates of our own.

    Args:
        template: Its text.
        dialogue: The messages.
        variables: What else it can name: the tokenizer's special tokens and our options.

    Raises:
        RenderingError: If it does not render, or to more than is allowed.
    """
    try:
        compiled = _environment().from_string(template)
        parts = compiled.generate(
            messages=[dict(x) for x in dialogue],
            tools=None,
            documents=None,
            add_generation_prompt=True,
            **variables,
        )
        return _joined(parts)
    except LimitError:
        raise
    except MemoryError as error:
        raise LimitError(_memory()) from error
    except Exception as error:  # a template fails with whatever its operations raise
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise RenderingError(reason[0][:200]) from error


def _joined(parts: Iterable[str]) -> str:
    kept, size = [], 0
    for part in parts:
        size += len(part)
        if size > MOST_CHARACTERS:
            raise LimitError(f"it makes more than {MOST_CHARACTERS:,} characters")
        kept.append(part)
    return "".join(kept)


@lru_cache(maxsize=256)
def render(template: str, dialogue: str, variables: str) -> str:
    """Render a template of others in a process of its own.

    Args:
        template: Its text.
        dialogue: The messages as JSON, which can be remembered.
        variables: What else it can name, as JSON.

    Raises:
        RenderingError: If it does not render within the limits.
    """
    if template == CHATML:
        return render_here(template, json.loads(dialogue), json.loads(variables))
    if len(template) > MOST_CHARACTERS:
        raise LimitError(f"it has more than {MOST_CHARACTERS:,} characters")
    task = {"template": template, "dialogue": json.loads(dialogue)}
    task["variables"] = json.loads(variables)
    # neither the working directory nor hooks of site lend the child a module: it gets our path
    path = json.dumps([place for place in sys.path if place])
    command = [sys.executable, "-I", "-S", "-c", _START, path, __file__]
    with subprocess.Popen(  # noqa: S603 - ours  # nosec B603 # this interpreter and this file
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        try:
            found = _answer(child, json.dumps(task).encode("ascii"))
        finally:
            child.kill()
    if "text" in found:
        return str(found["text"])
    kind = LimitError if found.get("limit") else RenderingError
    raise kind(str(found["error"]))


def _answer(child: "subprocess.Popen[bytes]", task: bytes) -> dict[str, Any]:
    """Return what the child says; if it passes a limit, which one."""
    end = time.monotonic() + MOST_WAIT
    given: bytes | None = task
    while True:
        try:
            output, _ = child.communicate(given, timeout=_POLL)
            break
        except subprocess.TimeoutExpired:
            given = None
        reason = _passed(child.pid)
        if reason is None and time.monotonic() > end:
            reason = f"it takes more than {MOST_WAIT:.0f} seconds"
        if reason is not None:
            return {"error": reason, "limit": True}
    try:
        found: dict[str, Any] = json.loads(output)
    except ValueError:
        return {"error": f"its process ended with {child.returncode} and said nothing"}
    return found


def _passed(pid: int) -> str | None:
    """Return which limit a process has passed, if any."""
    import psutil  # noqa: PLC0415 - not for the child, which starts in less time without

    with contextlib.suppress(psutil.Error):  # it may have ended by now
        process = psutil.Process(pid)
        times, memory = process.cpu_times(), process.memory_info().rss
        if times.user + times.system > MOST_SECONDS:
            return f"it takes more than {MOST_SECONDS:.0f} seconds"
        if memory > MOST_BYTES:
            return _memory()
    return None


def _memory() -> str:
    return f"it takes more than {MOST_BYTES >> 20:,} MiB of memory"


def _limit_memory() -> None:
    """Let the system refuse more memory than is allowed, where it can."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415 - POSIX only

        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))


def _serve() -> None:
    _limit_memory()
    task = json.load(sys.stdin)
    answer: dict[str, Any]
    try:
        answer = {"text": render_here(task["template"], task["dialogue"], task["variables"])}
    except RenderingError as failure:
        answer = {"error": str(failure), "limit": isinstance(failure, LimitError)}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    _serve()
