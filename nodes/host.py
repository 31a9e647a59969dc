"""Everything that touches ComfyUI. Each function also works where ComfyUI is absent, so that nodes run in a plain pytest and
in the command-line runner, which puts its own `Progress` listener here.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from PIL import Image

from ..drawthings_core import model_files
from ..drawthings_core.client import Cancellation
from ..drawthings_core.errors import GenerationCancelled, InvalidInput, short
from ..drawthings_core.stages import Doing

Result = TypeVar("Result")

DEFAULT_USER = "default"
"""The only user of a ComfyUI that does not have several."""

POLL_SECONDS = 0.1
"""How often a waiting node looks for ComfyUI's interrupt flag."""

PREVIEW_SIZE = 512
"""Longest side in pixels of a preview picture that is sent to the browser."""


SAY_SECONDS = 0.25
"""Least time between two lines of words about the same stage."""

PROGRESS_EVENT = "drawthings.progress"
"""Sent to the page that queued the prompt."""

PREVIEWS_SETTING = "DrawThings.Previews"
"""Id of the user's setting in the frontend; web/progress.js registers it."""


class Listener(Protocol):
    """Told about progress where there is no ComfyUI. previews: whether pictures are of any use to it."""

    previews: bool

    def progress(self, node_id: str, value: int, total: int, preview: Image.Image | None) -> None: ...

    def say(self, node_id: str, doing: Doing | None) -> None:
        """None: the node does nothing any more."""
        ...

    def interrupted(self) -> bool: ...


listener: Listener | None = None


class Place(NamedTuple):
    """Where the next result goes: subfolder is `folder` below the output folder, name and number make the file's name."""

    folder: Path
    subfolder: str
    name: str
    number: int

    def paths(self, index: int, suffix: str) -> Iterator[Path]:
        """Files for result number `index` of a batch, from 0: ComfyUI's name, then the next ones, for when that is taken."""
        stem = self.name.replace("%batch_num%", str(index))
        return (self.folder / f"{stem}_{counter:05}_{suffix}" for counter in itertools.count(self.number + index))


class Folders(Protocol):
    """Where pictures are read and written where there is no ComfyUI."""

    written: list[Path]

    def find(self, name: str) -> Path:
        """The input picture of this name. Raises InvalidInput for one that is not there, or outside."""
        ...

    def place(self, prefix: str, width: int, height: int) -> Place:
        """See `place`."""
        ...


folders: Folders | None = None


def _comfy(module: str) -> Any:
    """A module of ComfyUI that is already loaded, or None. Never imports: under another host the name may be another package."""
    return sys.modules.get(module)


def interrupted() -> bool:
    """Whether the user pressed Cancel."""
    management = _comfy("comfy.model_management")
    if management is not None:
        return bool(management.processing_interrupted())
    return listener.interrupted() if listener is not None else False


def interruption() -> Exception:
    """The exception that a host shows as interrupted, not as failed."""
    management = _comfy("comfy.model_management")
    return management.InterruptProcessingException() if management is not None else GenerationCancelled()


def page_routes() -> Any:
    """ComfyUI's table of routes (aiohttp's RouteTableDef), while it can still be added to; None where there is no web server."""
    server = getattr(_comfy("server"), "PromptServer", None)
    return getattr(getattr(server, "instance", None), "routes", None)


def model_folders() -> list[model_files.Folder]:
    """ComfyUI's model folders with what they hold; none without ComfyUI."""
    paths = _comfy("folder_paths")
    if paths is None:
        return []
    names = [name for name in paths.folder_names_and_paths if name != "custom_nodes"]
    return [
        model_files.Folder(name, tuple(map(Path, paths.get_folder_paths(name))), tuple(paths.get_filename_list(name)))
        for name in sorted(names)
    ]


class Progress:
    """A node's progress bar, preview picture and line of words, for the page that queued the prompt which runs now. previews: whether
    anyone wants to see pictures.
    """

    def __init__(self, node_id: str | None):
        self._node_id = node_id or ""
        utils = _comfy("comfy.utils")
        self._bar = utils.ProgressBar(1, node_id=node_id) if utils is not None else None
        self._page = _page() if self._bar is not None else None
        self._said: tuple[object, float] | None = None  # what, when
        if self._bar is None:
            self.previews = listener is not None and listener.previews
        else:
            self.previews = setting(PREVIEWS_SETTING, self._page) is not False

    def update(self, value: int, total: int, preview: Image.Image | None = None) -> None:
        """Show `value` of `total`, with a picture when given. In ComfyUI this raises its interrupt exception when it is set."""
        if self._bar is not None:
            self._bar.update_absolute(value, total, ("JPEG", preview, PREVIEW_SIZE) if preview is not None else None)
        elif listener is not None:
            listener.progress(self._node_id, value, total, preview)

    def say(self, doing: Doing) -> None:
        """Show what is being done: something else at once, how far it is a few times a second."""
        now = time.monotonic()
        if self._said is not None and self._said[0] == doing.subject and now - self._said[1] < SAY_SECONDS:
            return
        self._said = (doing.subject, now)
        self._tell(doing)

    def silence(self) -> None:
        """Nothing is being done any more: take the line away."""
        if self._said is not None:
            self._said = None
            self._tell(None)

    def _tell(self, doing: Doing | None) -> None:
        if self._page is not None:
            told: dict[str, Any] = {"node": self._node_id, **self._page.prompt(), "stage": ""}
            if doing is not None:
                told |= doing.told()
            self._page.send(PROGRESS_EVENT, told)
        elif self._bar is None and listener is not None:
            listener.say(self._node_id, doing)

    def end(self) -> None:
        """A full bar, and no words."""
        self.update(1, 1)
        self.silence()


class _Page(NamedTuple):
    """The page whose prompt runs. Kept by a node: its thread may outlive the prompt, and the next one is of another page."""

    client_id: str
    prompt_id: str
    workflow: str
    server: Any

    def prompt(self) -> dict[str, str]:
        """Which prompt is told about; workflow: the id of the graph that it was made of, "" when it is not known."""
        return {"prompt_id": self.prompt_id, "workflow": self.workflow}

    def send(self, event: str, data: dict[str, Any]) -> None:
        self.server.send_sync(event, data, self.client_id)


def _page() -> _Page | None:
    """None where nobody watches: a prompt of a program without a websocket."""
    module = _comfy("server")
    server = getattr(getattr(module, "PromptServer", None), "instance", None)
    client_id = getattr(server, "client_id", None)
    if client_id is None:
        return None
    executing = _comfy("comfy_execution.utils")
    context = executing.get_executing_context() if executing is not None else None
    prompt_id = context.prompt_id if context is not None else ""
    return _Page(client_id, prompt_id, _workflow(server, prompt_id), server)


def _workflow(server: Any, prompt_id: str) -> str:
    running = getattr(getattr(server, "prompt_queue", None), "currently_running", {})
    for _, running_id, _, extra, *_ in list(running.values()):
        if running_id == prompt_id:
            workflow = (extra.get("extra_pnginfo") or {}).get("workflow")
            return str(workflow.get("id") or "") if isinstance(workflow, dict) else ""
    return ""


# -- users and their settings

_users: dict[str, str] = {}
"""Page (client id) -> ComfyUI user, of a ComfyUI with several; the last _USERS pages."""

_USERS = 1000


def remember_user(client_id: str, user: str) -> None:
    """A page says whose it is: prompts name the page only."""
    _users.pop(client_id, None)
    _users[client_id] = user
    while len(_users) > _USERS:
        del _users[next(iter(_users))]


def setting(name: str, page: _Page | None) -> Any:
    """A setting of the frontend, of the user whose page it is; None when it was never changed or cannot be read.

    The frontend keeps a user's settings in a file of the user's folder (comfyui_host.md section 6).
    """
    paths, module = _comfy("folder_paths"), _comfy("server")
    if paths is None or module is None:
        return None
    user = _users.get(page.client_id, DEFAULT_USER) if page is not None else DEFAULT_USER
    known = getattr(getattr(module.PromptServer.instance, "user_manager", None), "users", ())
    if user != DEFAULT_USER and user not in known:  # a name from a request becomes part of a path
        return None
    try:
        settings = json.loads((Path(paths.get_user_directory()) / user / "comfy.settings.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return settings.get(name) if isinstance(settings, dict) else None


async def run(work: Callable[[Cancellation], Result]) -> Result:
    """Run blocking `work` in a thread while looking for the interrupt flag; raises the host's interrupt exception for it.

    No asyncio.CancelledError leaves: it would end ComfyUI's prompt thread for good.
    """
    cancellation = Cancellation()
    future = _in_thread(work, cancellation)
    try:
        while not (await asyncio.wait({future}, timeout=POLL_SECONDS))[0]:
            if interrupted():
                cancellation.cancel()
                await asyncio.wait({future}, timeout=5 * POLL_SECONDS)
                _forget(future)
                raise interruption()
        return future.result()
    except GenerationCancelled as error:
        raise interruption() from error
    except asyncio.CancelledError as error:
        cancellation.cancel()
        _forget(future)
        raise interruption() from error


async def within(seconds: float, work: Callable[[Cancellation], Result], ended: Callable[[], object]) -> Result:
    """Run blocking `work` in a thread for at most so long; ComfyUI's interrupt is not its business. `ended` is called, in the loop, when
    the thread has ended. Raises asyncio.TimeoutError, after asking the work to stop.
    """
    cancellation = Cancellation()
    future = _in_thread(work, cancellation)
    future.add_done_callback(lambda _done: ended())
    try:
        if not (await asyncio.wait({future}, timeout=seconds))[0]:
            raise asyncio.TimeoutError
        return future.result()
    finally:
        if not future.done():
            cancellation.cancel()
            _forget(future)


def _in_thread(work: Callable[[Cancellation], Result], cancellation: Cancellation) -> asyncio.Future[Result]:
    """Start `work` in a daemon thread. An executor's threads would be joined when the host ends, and hold it for a whole run."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: Result | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def body() -> None:
        result, error = None, None
        try:
            result = context.run(work, cancellation)
        except BaseException as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=body, name="drawthings", daemon=True).start()
    return future


def _forget(future: asyncio.Future[Any]) -> None:
    """Leave a thread that is being cancelled to itself; its outcome no longer matters to anyone."""
    future.add_done_callback(lambda done: done.cancelled() or done.exception())


# -- files


def input_pictures() -> list[str]:
    """Names of the pictures in ComfyUI's input folder, as its own Load Image offers them."""
    paths = _comfy("folder_paths")
    if paths is None:
        return []
    with contextlib.suppress(OSError):
        with os.scandir(paths.get_input_directory()) as entries:
            names = [entry.name for entry in entries if entry.is_file()]
        return sorted(paths.filter_files_content_types(names, ["image"]))
    return []


def input_picture(name: str) -> Path:
    """The file of a picture that a graph names, "name [output]" and "name [temp]" included. Raises InvalidInput for one that is
    not there or not inside its folder.
    """
    paths = _comfy("folder_paths")
    if paths is None:
        return _own_folders().find(name)
    plain, folder = paths.annotated_filepath(name)
    folder = os.path.abspath(folder or paths.get_input_directory())
    path = os.path.abspath(os.path.join(folder, plain))
    if not path.startswith(os.path.join(folder, "")) or "\0" in path or not os.path.isfile(path):
        raise InvalidInput(f"The picture {short(name)} is not in ComfyUI's input folder: upload it, or choose another.")
    return Path(path)


def place(prefix: str, width: int, height: int) -> Place:
    """Where ComfyUI's own Save Image would put a picture of this size: variables such as %width% replaced, the next free number.
    The folder exists. Raises InvalidInput for a prefix that leads outside.
    """
    paths = _comfy("folder_paths")
    if paths is None:
        return _own_folders().place(prefix, width, height)
    try:
        found = paths.get_save_image_path(prefix, paths.get_output_directory(), width, height)
    except OSError:
        raise
    except Exception as error:  # the host has no class of its own for it
        raise InvalidInput(f"The prefix {prefix!r} leads outside the output folder: choose a name inside it.") from error
    folder, name, number, subfolder, _ = found
    return Place(Path(folder), subfolder, name, number)


def wrote(path: Path) -> None:
    """Tell who listens that a result was written."""
    if folders is not None:
        folders.written.append(path)


def metadata_wanted() -> bool:
    """False when the user started ComfyUI with --disable-metadata: then files say nothing about how they were made."""
    arguments = _comfy("comfy.cli_args")
    return arguments is None or not arguments.args.disable_metadata


def _own_folders() -> Folders:
    if folders is None:
        raise InvalidInput("There are no input and output folders here: run the node in ComfyUI, or with drawthings-run.")
    return folders
