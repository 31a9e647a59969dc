"""Upload Model and Files Exist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..drawthings_core import file_check, model_files, several
from ..drawthings_core.client import Cancellation, client_for
from ..drawthings_core.errors import DrawThingsError, InvalidInput
from ..drawthings_core.file_check import FileReport
from ..drawthings_core.servers import Server
from ..drawthings_core.stages import Doing, of_upload
from ..drawthings_core.uploading import Existing, UploadProgress, upload_model, what_became_of
from . import host, known_files, widgets
from .load_server import CATEGORY, checked_servers

LONGEST_MINUTES = 1440


def _library() -> model_files.Library:
    return model_files.Library([model_files.uploads(), *host.model_folders()])


class UploadModel:
    """Puts a file of this machine into a server's models folder."""

    CATEGORY = CATEGORY
    DESCRIPTION = "Uploads a model, LoRA or other file in Draw Things' format from ComfyUI's model folders, or from the uploads folder."
    RETURN_TYPES = ("DT_SERVER", "STRING", "STRING", "STRING")
    RETURN_NAMES = ("server", "file", "sha256", "report")
    OUTPUT_TOOLTIPS = (
        "The same server, for nodes that use the file: they wait for the upload.",
        "The file's name on the server.",
        "SHA-256 of the file, as Files Exist takes it.",
        "What was done, in words.",
    )
    FUNCTION = "upload"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "server": widgets.server(),
                "file": (
                    [widgets.NONE, *_library().listing()],
                    {
                        "default": widgets.NONE,
                        "tooltip": "The file to upload: in the uploads folder, or in one of ComfyUI's model folders.",
                    },
                ),
                "existing": (
                    [one.value for one in Existing],
                    {
                        "default": Existing.keep.value,
                        "tooltip": "When the server has a file of that name: keep refuses to replace other contents, replace does it, and both "
                        "leave equal contents alone; the server reads its file for that. send anyway does not ask.",
                    },
                ),
            },
            "optional": {
                "name": widgets.text("Name on the server, without folders. Empty: the file's own name."),
                "other_formats": widgets.switch(
                    "Also send what a Draw Things server cannot use, such as a safetensors file.", default=False
                ),
            },
            "hidden": {"unique_id": "UNIQUE_ID"},
        }

    @classmethod
    def VALIDATE_INPUTS(cls, file: Any = None) -> bool:
        """The folders are looked into when the node runs, and what is wrong is said there."""
        return True

    @classmethod
    def IS_CHANGED(cls, file: Any = widgets.NONE, **_others: Any) -> str:
        """Run again when the file on this machine is another one. Raises InvalidInput, which ComfyUI logs; then the node runs and tells it."""
        file = widgets.checked_text(file, "file")
        if file == widgets.NONE:
            return file
        states = [one.path.stat() for one in _library().find(file)]
        return " ".join(f"{state.st_size} {state.st_mtime_ns}" for state in states)

    async def upload(
        self, server: Any, file: str, existing: str, name: str = "", other_formats: bool = False, unique_id: str | None = None
    ) -> dict[str, Any]:
        pool = checked_servers(server)
        if file == widgets.NONE:
            raise InvalidInput(
                f"No file is chosen: choose one that is listed, or put one into the folder {model_files.UPLOADS} of the profile folder "
                f"(or into {model_files.UPLOADS_VARIABLE}) and press R."
            )
        files = _library().find(widgets.checked_text(file, "file"))
        progress = host.Progress(unique_id)

        def tell(made: UploadProgress) -> None:
            progress.update(made.done, made.total)
            progress.say(of_upload(made))

        def send(to: Server, cancellation: Cancellation) -> tuple[str, str, str]:
            client = client_for(to)
            done = upload_model(
                client,
                files,
                widgets.checked_text(name, "name").strip(),
                cancellation,
                existing=widgets.member(Existing, "existing", existing),
                other_formats=other_formats,
                on_progress=tell,
            )
            catalog = client.catalog(max_age=0, cancellation=cancellation)
            known_files.remember(to.address, catalog)
            return done[-1].name, done[-1].sha256, "\n".join(f"{one} {what_became_of(one.name, catalog)}" for one in done)

        def work(cancellation: Cancellation) -> tuple[str, str, str]:
            outcomes = several.in_turn(pool.different, send, cancellation)
            progress.end()
            sent, sha256, _ = next(one for one in outcomes.values() if not isinstance(one, DrawThingsError))
            reports = [str(one) if isinstance(one, DrawThingsError) else one[2] for one in outcomes.values()]
            return sent, sha256, _by_server(outcomes, reports)

        sent, sha256, report = await host.run(work)
        return {"ui": {"text": [report]}, "result": (server, sent, sha256, report)}


class FilesExist:
    """Which files are on a server."""

    CATEGORY = CATEGORY
    DESCRIPTION = "Says which files are in a server's models folder, and what their hashes are."
    RETURN_TYPES = ("BOOLEAN", "STRING", "STRING")
    RETURN_NAMES = ("all_there", "report", "json")
    OUTPUT_TOOLTIPS = (
        "True when all files are there, and those with a hash have it.",
        "A line a file, in words.",
        "The same for programs.",
    )
    FUNCTION = "check"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "server": widgets.server(),
                "files": widgets.text(
                    "Names on the server, one a line. A SHA-256 before or behind a name is compared with the server's.", multiline=True
                ),
                "hashes": widgets.switch(
                    "Have the server hash every file. It reads them whole, which takes minutes for large ones, and answers nobody meanwhile.",
                    default=False,
                ),
                "minutes": (
                    "INT",
                    {
                        "default": file_check.DEFAULT_MINUTES,
                        "min": 1,
                        "max": LONGEST_MINUTES,
                        "tooltip": "How long to wait for hashes, all together.",
                    },
                ),
            },
            "hidden": {"unique_id": "UNIQUE_ID"},
        }

    @classmethod
    def IS_CHANGED(cls, **_inputs: Any) -> float:
        """Ask anew each time: files come and go on a server."""
        return float("nan")

    async def check(self, server: Any, files: str, hashes: bool, minutes: int, unique_id: str | None = None) -> dict[str, Any]:
        pool = checked_servers(server)
        wanted = file_check.wanted(widgets.checked_text(files, "files"))
        minutes = int(widgets.within("minutes", minutes, 1, LONGEST_MINUTES))
        progress = host.Progress(unique_id)

        def tell(file: str, number: int, total: int) -> None:
            progress.update(number, total)
            progress.say(Doing("hashing", {"file": file, "number": number + 1, "total": total}))

        def check(asked: Server, cancellation: Cancellation) -> FileReport:
            client = client_for(asked)
            report = file_check.check(client, wanted, hashes=hashes, minutes=minutes, tell=tell, cancellation=cancellation)
            known_files.remember(asked.address, client.catalog(cancellation=cancellation))
            return report

        def work(cancellation: Cancellation) -> list[FileReport]:
            outcomes = several.in_turn(pool.different, check, cancellation)
            progress.end()
            for one in outcomes.values():
                if isinstance(one, DrawThingsError):  # half an answer would be taken for a whole one
                    raise one
            return [one for one in outcomes.values() if isinstance(one, FileReport)]

        reports = await host.run(work)
        text = "\n\n".join(report.text() for report in reports)
        return {"ui": {"text": [text]}, "result": (all(report.all_right for report in reports), text, file_check.json_of(reports))}


def _by_server(outcomes: Mapping[Server, Any], reports: Sequence[str]) -> str:
    """The reports, of several servers under their addresses."""
    if len(reports) == 1:
        return reports[0]
    return "\n\n".join(f"{server.address}\n{report}" for server, report in zip(outcomes, reports, strict=True))
