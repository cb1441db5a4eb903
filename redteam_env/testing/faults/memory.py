"""Memory that is used up at a chosen moment."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from redteam_env.testing.faults.when import When

_MESSAGE = (
    "DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes. Error code 12"
)


@contextmanager
def faulty_memory(when: When) -> Iterator[When]:
    """Let torch find no memory for the result of an operation, in this thread; torch must be installed.

    Args:
        when: Which operations on tensors fail, with the error that torch raises on a CPU. Nearly all of them
            allocate something; those that do not (views) count as well.

    Yields:
        ``when``, which counts the operations.
    """

    def tried(
        _mode: Any,
        operation: Any,
        _types: Any,
        arguments: Sequence[Any] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        if when.due():
            raise RuntimeError(_MESSAGE)
        return operation(*arguments, **(options or {}))

    mode = import_module("torch.utils._python_dispatch").TorchDispatchMode
    with type("FaultyMemory", (mode,), {"__torch_dispatch__": tried})():
        yield when
