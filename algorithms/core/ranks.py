"""Several processes that train as one: how work is shared out and how results come together.

``torchrun`` and ``accelerate launch`` start the processes and tell each its rank. Everything that is
drawn or decided (which games, advantages, minibatches) is computed alike in every process from the
same numbers; what takes time is shared out: playing games and passes through the model. So any
number of processes takes the same training steps, up to rounding.

Numbers travel over gloo in the CPU's memory, gradients over the backend of their device (nccl on
GPUs). No pickle: what is no tensor travels as JSON. Every exchange begins with one number from each
process; a negative one says that its sender has failed, so that an error in one process ends all of
them, with its message, at their next exchange.
"""

import atexit
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from redteam_env.game import RedteamError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
TIMEOUT = timedelta(minutes=30)
"""Longest wait for another process: what one may need more than the fastest, for its games, say."""
_FAREWELL = timedelta(seconds=10)
_BUCKET = 2**26
"""Most numbers that are summed in one exchange: 256 MiB in float32."""
_LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class PeerError(RedteamError):
    """What ended another process; every process knows of it."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that train together; alone by default.

    All processes call the same methods in the same order.

    Attributes:
        rank: Its number, from 0; process 0 leads: it alone writes files and speaks.
        world: How many there are.
    """

    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def part(self, items: Sequence[T]) -> Sequence[T]:
        """Return this process's run of neighbours; their number must be a multiple of ``world``."""
        size = len(items) // self.world
        return items[self.rank * size : (self.rank + 1) * size]

    def share(self, costs: Sequence[float]) -> list[int]:
        """Return the places, in order, of this process's share of some work of known costs.

        The dearest piece goes first, each to the process with least so far; some get none if there
        are fewer pieces than processes.
        """
        if self.world == 1:
            return list(range(len(costs)))
        loads = [0.0] * self.world
        own = []
        for k in sorted(range(len(costs)), key=lambda k: -costs[k]):
            least = min(range(self.world), key=loads.__getitem__)
            loads[least] += costs[k]
            if least == self.rank:
                own.append(k)
        return sorted(own)

    def gather(self, value: Any) -> list[Any]:
        """Return what each process gave, in the order of ranks, after a round trip through JSON."""
        if self.world == 1:
            return [value]
        text = json.dumps(value).encode()
        return [json.loads(part) for part in self._texts(text, self._announce(len(text)))]

    def same(self, what: str, value: Any) -> None:
        """Check that all processes hold the same.

        Args:
            what: What it is, for the message.
            value: Plain JSON.

        Raises:
            RedteamError: If one differs from process 0; it is named, with both values.
        """
        first, *others = self.gather(value)
        for rank, other in enumerate(others, start=1):
            if other != first:
                one, two = _difference(first, other)
                raise RedteamError(
                    f"Process {rank} of {self.world} has other {what} than process 0: {two} there, "
                    f"{one} here. All processes need the same command, versions and files."
                )

    def add(self, tensors: "Sequence[torch.Tensor]") -> None:
        """Replace each tensor by its sum over all processes, in which it has the same shape."""
        if self.world == 1:
            return
        import torch
        import torch.distributed as dist

        self._announce(0)
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            with _lost(self):
                dist.all_reduce(flat)
            for tensor, part in zip(
                bucket, torch.split(flat, [t.numel() for t in bucket]), strict=True
            ):
                tensor.copy_(part.view_as(tensor))

    def add_arrays(self, arrays: Sequence[np.ndarray[Any, Any]]) -> None:
        """Replace each array by its sum over all processes, as :meth:`add`."""
        if self.world > 1:
            import torch

            self.add([torch.from_numpy(array) for array in arrays])

    @contextmanager
    def together(self) -> Iterator[None]:
        """Let an error in one process end all of them.

        Raises:
            PeerError: Where another process failed.
        """
        try:
            yield
        except PeerError:
            raise
        except Exception as error:
            if self.world > 1:
                named = isinstance(error, RedteamError)
                text = (str(error) if named else f"{type(error).__name__}: {error}").encode()
                with suppress(PeerError):
                    self._announce(-1 - len(text), text)
            raise

    def let_leader_end(self) -> None:
        """Wait until process 0 is gone: a launcher ends all with the first, maybe in mid-sentence."""
        if not self.leads:
            import torch
            import torch.distributed as dist

            mark = torch.zeros(1)
            with suppress(RuntimeError):
                work = dist.all_gather(
                    [mark.clone() for _ in range(self.world)], mark, async_op=True
                )
                work.wait(_FAREWELL)

    def _announce(self, size: int, text: bytes = b"") -> list[int]:
        """Exchange one number; a negative one tells the length of the reason for a failure."""
        import torch
        import torch.distributed as dist

        own = torch.tensor([size])
        sizes = [torch.zeros_like(own) for _ in range(self.world)]
        with _lost(self):
            dist.all_gather(sizes, own)
        found = [int(x) for x in sizes]
        failed = [rank for rank, x in enumerate(found) if x < 0]
        if failed:
            texts = self._texts(text, [max(0, -1 - x) for x in found])
            raise PeerError(
                f"Process {failed[0]} of {self.world}: {texts[failed[0]].decode(errors='replace')}"
            )
        return found

    def _texts(self, text: bytes, sizes: Sequence[int]) -> list[bytes]:
        import torch
        import torch.distributed as dist

        own = torch.zeros(max(1, *sizes), dtype=torch.uint8)
        if text:
            own[: len(text)] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
        parts = [torch.empty_like(own) for _ in range(self.world)]
        with _lost(self):
            dist.all_gather(parts, own)
        return [x[:n].numpy().tobytes() for x, n in zip(parts, sizes, strict=True)]


def current() -> Ranks:
    """Return this process among those of torch's process group, alone if there is none."""
    dist = sys.modules.get("torch.distributed")  # whoever joined others has imported it
    if dist is None or not dist.is_available() or not dist.is_initialized():
        return Ranks()
    return Ranks(dist.get_rank(), dist.get_world_size())


def join() -> Ranks:
    """Meet the processes that were launched together; the first call waits for all of them.

    Returns:
        This process among them; alone if it was not launched with others.

    Raises:
        RedteamError: If the others do not come.
    """
    known = current()
    if known.world > 1 or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return known
    missing = [name for name in _LAUNCHED if name not in os.environ]
    if missing:
        raise RedteamError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but {', '.join(missing)} is not set; start "
            "several processes with torchrun or accelerate launch, or unset WORLD_SIZE."
        )
    import torch
    import torch.distributed as dist

    if dist.is_available():
        # its functions keep the group they find on import, as a default; one that outlives _leave may
        # let a thread of gloo ask for the interpreter while that is torn down, which aborts the process
        import torch.distributed.nn.functional
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        dist.init_process_group(backend, timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:
        raise RedteamError(
            f"Process {os.environ['RANK']} of {os.environ['WORLD_SIZE']} cannot meet the others at "
            f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}: {error}. Look at their "
            "messages; all machines must reach that address."
        ) from error
    atexit.register(_leave)
    return current()


def _buckets(tensors: "Sequence[torch.Tensor]") -> "Iterator[list[torch.Tensor]]":
    bucket: list[torch.Tensor] = []
    size = 0
    for tensor in tensors:
        alike = bucket and (tensor.dtype, tensor.device) == (bucket[0].dtype, bucket[0].device)
        if bucket and not (alike and size + tensor.numel() <= _BUCKET):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.numel()
    if bucket:
        yield bucket


def _difference(one: Any, two: Any) -> tuple[str, str]:
    """Return two values as texts, of objects only the members that differ."""
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        names = [k for k in {**one, **two} if one.get(k) != two.get(k)]
        one, two = ({k: x.get(k) for k in names} for x in (one, two))
    return json.dumps(one), json.dumps(two)


@contextmanager
def _lost(ranks: Ranks) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise PeerError(
            f"Process {ranks.rank} of {ranks.world} lost the others; one of them ended, or was silent "
            f"for {TIMEOUT}. Look at its message; resume from the last checkpoint. ({error})"
        ) from error


def _leave() -> None:
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()
