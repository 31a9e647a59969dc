"""drawthings-run: run a workflow file on a Draw Things server, without ComfyUI."""

from __future__ import annotations

import argparse
import io
import os
import sys
import textwrap
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ..drawthings_core.errors import (
    AllServersFailed,
    BadResult,
    ConnectionFailed,
    DrawThingsError,
    GenerationCancelled,
    InvalidInput,
    ProfileError,
    SecretRejected,
    ServerFailed,
)
from ..drawthings_core.servers import NO_SERVER, Profiles, parse_address
from ..drawthings_core.tls import TLSMode
from . import overrides
from .workflow import WorkflowError, read

if TYPE_CHECKING:
    from .execution import Outcome
    from .stand_ins import Folders

INTERRUPTED = 130
EXIT_CODES: tuple[tuple[int, tuple[type[BaseException], ...], str], ...] = (
    (
        2,
        (WorkflowError, ProfileError),
        "wrong usage, or a workflow (or a part of it) that cannot be run, or a secret that is not saved or may not go there",
    ),
    (3, (ConnectionFailed,), "the server was not reached, or TLS or its certificate did not fit"),
    (4, (SecretRejected,), "the server refused the shared secret"),
    (5, (InvalidInput,), "the request was refused here: a setting, a picture, or a file that the server does not have"),
    (6, (ServerFailed, BadResult), "the server failed, or sent something that cannot be used"),
    (INTERRUPTED, (GenerationCancelled, KeyboardInterrupt), "interrupted"),
)
"""The first row whose classes fit counts; 0 is done, and 1 anything else, such as a full disk."""


def exit_code(error: BaseException) -> int:
    """What the command ends with after this error; of several servers, what the first of them does."""
    if isinstance(error, AllServersFailed):
        error = next(iter(error.errors.values()), error)
    return next((code for code, classes, _ in EXIT_CODES if isinstance(error, classes)), 1)


def parser() -> argparse.ArgumentParser:
    codes = "\n".join(f"  {code:3}  {meaning}" for code, _, meaning in EXIT_CODES)
    made = argparse.ArgumentParser(
        prog="drawthings-run",
        description="Run a ComfyUI workflow of Draw Things nodes, without ComfyUI. The file may be saved or exported in API format.",
        epilog=f"exit codes:\n    0  done\n    1  anything else, such as a full disk\n{codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("workflow", type=Path, metavar="WORKFLOW.json")
    made.add_argument("--server", type=_address, metavar="HOST:PORT", help="use this server instead of the workflow's")
    made.add_argument("--tls", choices=[mode.value for mode in TLSMode], help="how to reach it")
    made.add_argument("--secret", metavar="NAME", help="NAME of a saved shared secret, never the secret itself")
    made.add_argument("--ca-file", metavar="FILE", help="PEM file to trust; means --tls 'CA file'")
    made.add_argument("--out", type=Path, default=Path("out"), metavar="DIR", help="folder for the results (default: out)")
    made.add_argument("--input", type=Path, metavar="DIR", help="folder of the pictures that the workflow loads")
    made.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        type=_setting,
        metavar="NODE.input=value",
        help="set an input; NODE is an id, a title or a type; may be repeated",
    )
    made.add_argument("--quiet", action="store_true", help="no progress bars")
    made.add_argument("--debug", action="store_true", help="show where an error comes from")
    return made


def _setting(text: str) -> overrides.Setting:
    try:
        return overrides.parse_setting(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _address(text: str) -> tuple[str, int]:
    try:
        return parse_address(text)
    except InvalidInput as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit code; wrong usage exits 2 by itself."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own log lines say the same in its words
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr has it: texts from files may be more than a terminal can show
    given = parser().parse_args(arguments)
    try:
        return _run(given)
    except (Exception, KeyboardInterrupt) as error:
        if given.debug:
            traceback.print_exc()
        cause = getattr(error, "cause", error)  # of a NodeFailed
        print(_sentence(error, cause), file=sys.stderr)
        code = exit_code(cause)
        if code == INTERRUPTED and arguments is None:
            _leave(code)
        return code


def _leave(code: int) -> NoReturn:
    """End the process without waiting for threads: one that looks up a name would hold it for seconds."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(given: argparse.Namespace) -> int:
    folders, classes, titles = _prepared(given)
    from . import execution, stand_ins
    from .progress import TerminalProgress, listening

    graph = read(given.workflow, classes, titles)
    graph = overrides.use_server(graph, _server_changes(given))
    graph = overrides.apply(graph, given.settings, classes)
    progress = TerminalProgress({node.id: node.title for node in graph.nodes.values()}, quiet=given.quiet)
    try:
        with stand_ins.in_use(folders), listening(progress):
            outcome = execution.run(graph, classes, progress.stop)
    finally:
        for path in folders.written:
            print(f"wrote {path}", flush=True)
        for remark in folders.remarks:
            print(remark, flush=True)
    return _tell(outcome)


def _prepared(given: argparse.Namespace) -> tuple[Folders, dict[str, Any], dict[str, str]]:
    """The folders, and the node classes and their display names. Here, since they bring torch, which takes seconds to load."""
    try:
        from .. import nodes
        from . import stand_ins
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise WorkflowError("Running a workflow needs torch: install it, or use the Python that runs ComfyUI.") from error
    beside = given.workflow.resolve().parent
    own = () if given.input is None else (given.input.resolve(),)
    folders = stand_ins.Folders((*own, beside, beside / "input"), given.out)
    classes = {**nodes.NODE_CLASS_MAPPINGS, **stand_ins.bound(folders)}
    return folders, classes, {**nodes.NODE_DISPLAY_NAME_MAPPINGS, **stand_ins.TITLES}


def _server_changes(given: argparse.Namespace) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if given.server is not None:
        changes |= {"host": given.server[0], "port": given.server[1], "saved_server": NO_SERVER}
    if given.ca_file is not None:
        changes |= {"ca_file": given.ca_file, "tls": TLSMode.ca_file.value}
    if given.tls is not None:
        changes["tls"] = given.tls
    if given.secret is not None:
        changes["secret"] = given.secret
        if given.server is not None and given.secret:
            Profiles().allow(given.secret, *given.server, keep=False)  # who names both means it
    return changes


def _tell(outcome: Outcome) -> int:
    for report in outcome.reports:
        seeds = ", ".join("none" if seed is None else str(seed) for seed in report.seeds)
        print(f"seeds of {report.node.named}: {seeds}")
        for note in report.notes:
            print(f"note on {report.node.named}: {note}", file=sys.stderr)
    for node, text in outcome.shown:
        print(f"shown by {node.named}:\n{textwrap.indent(text, '  ')}")
    for refusal in outcome.refused:
        print(refusal, file=sys.stderr)
    return 2 if outcome.refused else 0


def _sentence(error: BaseException, cause: BaseException) -> str:
    if isinstance(cause, (KeyboardInterrupt, GenerationCancelled)):
        return "Interrupted: the server was told to stop."
    if cause is not error or isinstance(cause, DrawThingsError):
        return str(error)
    return f"{type(cause).__name__}: {cause} (--debug shows where)"


if __name__ == "__main__":
    sys.exit(main())
