"""How much memory this process took."""

import sys
from pathlib import Path


def peak_gb() -> float:
    """Return the most memory that this process held so far, in GB (10^9 bytes).

    Linux counts in ``ru_maxrss`` what the process that started this one held, so its own account of
    the address space is read there.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return next(
            int(line.split()[1]) * 1024 / 1e9
            for line in status.splitlines()
            if line.startswith("VmHWM:")
        )
    except (OSError, StopIteration):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, others kibibytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
