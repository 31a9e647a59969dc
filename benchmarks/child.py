"""Programs in processes of their own, asked by JSON lines. Standard library only: it also runs in other Pythons.

    with Child(sys.executable, "damage.py") as host:
        host.ask("generate", port=7859)

and at the end of damage.py: `if __name__ == "__main__": serve(globals())`.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


class ChildFailed(Exception):
    """Its function raised; the text is the trace."""


class ChildDied(Exception):
    """The process ended instead of answering."""


class ChildHung(Exception):
    """It gave no answer in time and was killed."""


class Child:
    """A running program of this folder. environment: variables that it gets besides ours; None takes one away."""

    def __init__(self, python: str, program: str, environment: Mapping[str, str | None] | None = None):
        wanted = {**os.environ, **(environment or {})}
        self._process = subprocess.Popen(
            [python, str(HERE / program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={name: value for name, value in wanted.items() if value is not None},
        )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, work: str, seconds: float = 120.0, **arguments: Any) -> Any:
        """Call a function of the program. Raises ChildFailed, ChildDied, ChildHung."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        hung = threading.Event()

        def end() -> None:
            hung.set()
            self._process.kill()

        deadline = threading.Timer(seconds, end)
        deadline.start()
        try:
            self._process.stdin.write(json.dumps({"work": work, "arguments": arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        finally:
            deadline.cancel()
        if not line:
            raise ChildHung(work) if hung.is_set() else ChildDied(work)
        answer = json.loads(line)
        if "failed" in answer:
            raise ChildFailed(answer["failed"])
        return answer["answer"]

    def close(self) -> None:
        """End it; a program that does not go by itself is killed."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._process.communicate(timeout=10)
        self._process.kill()
        self._process.wait()


def serve(functions: Mapping[str, Any]) -> None:
    """Answer on stdout what is asked on stdin, until that ends. What the functions print goes nowhere."""
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        for line in sys.stdin:
            asked = json.loads(line)
            try:
                answer = {"answer": functions[asked["work"]](**asked["arguments"])}
            except Exception:
                answer = {"failed": traceback.format_exc()}
            print(json.dumps(answer), file=answers, flush=True)
