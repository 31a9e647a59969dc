#!/usr/bin/env python3
"""Long runs: what takes minutes or hours to show. The tests do the same, shorter.

    python3 long_runs/run.py requests --count 20000     random requests; no server may be brought down
    python3 long_runs/run.py endurance                  generations without end by one process; what it holds stays the same
    python3 long_runs/run.py many, cancellations, loops many at once; cancelled at random moments; event loops that share a client
    python3 long_runs/run.py tensors, streams, catalogues, workflows, pictures
                                                        damaged: a result or a sentence comes of it, in little time and memory
    python3 long_runs/run.py tensors --seed 123 --count 1   number 123 of them again
    python3 long_runs/run.py requests --docs            the figures into docs/long_runs.md, too

Needs Python 3.10 or newer and nothing else: it makes its own virtual environment, as scripts/test.py does. Exit codes: 0 nothing was
found, 1 something was, named by the number that makes it happen again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import _environment  # noqa: E402  # pyright: ignore[reportMissingImports]

HERE = "--here"
"""Install nothing: use this Python."""


def main() -> int:
    arguments = sys.argv[1:]
    interpreter: Path | str = sys.executable
    if HERE in arguments:
        arguments.remove(HERE)
    else:
        try:
            interpreter = _environment.ensure(_environment.demo_requirements())
        except _environment.SetupFailed as error:
            print(error, file=sys.stderr)
            return 1
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    return subprocess.run([str(interpreter), "-m", "comfyui_drawthings.long_runs.command", *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
