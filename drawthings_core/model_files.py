"""Model files on this machine and on a server: plain names, what a file is by its first bytes, and the folders to pick from.

A server keeps its models in one flat folder and does not sanitise names (protocol.md sections 5 and 7), so no name with path parts is
ever sent to it.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

from .errors import InvalidInput, NotUploadable, short
from .servers import home

UPLOADS_VARIABLE = "DRAWTHINGS_UPLOADS"
UPLOADS = "uploads"
"""What the own folder is called in a choice, and below the profile folder on disk."""

MODEL_ENDING = ".ckpt"
"""A server lists no other files (protocol.md section 5)."""

WEIGHTS_SUFFIX = "-tensordata"
"""Draw Things may keep the weights of x.ckpt beside it, in x.ckpt-tensordata."""

CHOSEN_ENDINGS = frozenset({MODEL_ENDING, ".safetensors", ".sft", ".gguf", ".pt", ".pt2", ".pth", ".bin", ".pkl"})
"""Endings of files that can be picked. Anything else in a model folder (settings, notes, keys) stays on this machine."""

_HEAD = 16
"""Bytes that tell the format."""

_LONGEST_NAME = 255
"""Bytes that file systems allow."""


class Format(Enum):
    """What a model file is, whatever its ending says. Only Draw Things' own runs on a server."""

    draw_things = "a Draw Things file"
    safetensors = "a safetensors file"
    gguf = "a GGUF file"
    pytorch = "a PyTorch file"
    other = "no model file that is known here"


def format_of(head: bytes) -> Format:
    """By its first bytes: Draw Things keeps tensors in SQLite databases."""
    if head.startswith(b"SQLite format 3\0"):
        return Format.draw_things
    if head.startswith(b"GGUF"):
        return Format.gguf
    if head.startswith((b"PK\x03\x04", b"\x80\x02")):
        return Format.pytorch
    if len(head) > 8 and head[8:9] == b"{":  # the length of a JSON header, and the header
        return Format.safetensors
    return Format.other


def plain_name(name: str) -> str:
    """`name` when it is a file name without folders. Raises InvalidInput."""
    text = name.strip()
    if text in ("", ".", "..") or any(character in "/\\" or not character.isprintable() for character in text):
        raise InvalidInput(f"{short(name)} is not a plain file name: write a name without folders.")
    if len(text.encode("utf-8")) > _LONGEST_NAME:
        raise InvalidInput(f"{short(name)} is too long for a file name: allowed are {_LONGEST_NAME} bytes.")
    return text


class Opened:
    """A regular file that is open for reading and watched for changes; a context manager.

    Raises NotUploadable for a folder, a device, a pipe, an empty file, or one that cannot be read.
    """

    def __init__(self, path: Path):
        self.path = path
        self.name = path.name
        self._reading = threading.Lock()
        try:
            # Without O_NONBLOCK, opening a pipe would wait for a writer.
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
            self._file: BinaryIO = os.fdopen(handle, "rb", buffering=0)
        except IsADirectoryError as error:
            raise NotUploadable(f"{self.name!r} is a folder: choose a file.") from error
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error
        self._state = os.fstat(self._file.fileno())
        kind, self.size = self._state.st_mode, self._state.st_size
        if not stat.S_ISREG(kind) or self.size == 0:
            self._file.close()
            what = "is empty" if stat.S_ISREG(kind) else "is a folder" if stat.S_ISDIR(kind) else "is a device or a pipe"
            raise NotUploadable(f"{self.name!r} {what}: choose a model file.")

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        with self._reading:  # in another thread, perhaps
            self._file.close()

    def pieces(self, count: int) -> Iterator[bytes]:
        """The file from its start in pieces of `count` bytes. Raises NotUploadable, before the last piece when it has changed."""
        for offset in range(0, self.size, count):
            yield self._read(offset, min(count, self.size - offset))

    def format(self) -> Format:
        """What it is."""
        return format_of(self._read(0, min(_HEAD, self.size)))

    def _read(self, offset: int, count: int) -> bytes:
        pieces, missing = [], count
        try:
            with self._reading:
                self._file.seek(offset)
                while missing and (piece := self._file.read(missing)):
                    pieces.append(piece)
                    missing -= len(piece)
                now = os.fstat(self._file.fileno())
        except (OSError, ValueError) as error:  # ValueError: it was closed
            raise self._unreadable(error) from error
        at_end = offset + count == self.size
        if missing or (at_end and (now.st_size, now.st_mtime_ns) != (self.size, self._state.st_mtime_ns)):
            raise NotUploadable(f"{self.name!r} changed while it was read: upload it when nothing writes to it any more.")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _unreadable(self, error: Exception) -> NotUploadable:
        reason = getattr(error, "strerror", None) or str(error)
        return NotUploadable(f"{self.name!r} cannot be read ({reason}): see whether it is there and may be read.")


class Folder(NamedTuple):
    """A folder to pick from. roots: where it is on disk, often one place. files: what is listed, relative to one of them."""

    name: str
    roots: tuple[Path, ...]
    files: tuple[str, ...]


def uploads() -> Folder:
    """The one folder that is configured here: $DRAWTHINGS_UPLOADS, else "uploads" in the folder of the profile file."""
    path = Path(os.environ.get(UPLOADS_VARIABLE) or home() / UPLOADS)
    try:
        with os.scandir(path) as entries:
            files = tuple(entry.name for entry in entries if entry.is_file())
    except OSError:  # nothing there yet
        files = ()
    return Folder(UPLOADS, (path,), files)


class Chosen(NamedTuple):
    """A file to upload. name: its own, before links were followed."""

    name: str
    path: Path


def whole_model(path: Path) -> list[Chosen]:
    """The files of a model: its weights, where they are a file of their own, then itself, which a server must not use without them."""
    weights = path.with_name(path.name + WEIGHTS_SUFFIX)
    return [Chosen(one.name, one) for one in ([weights] if os.path.lexists(weights) else []) + [path]]


class Library:
    """The folders that files may be picked from; a choice is "folder/file", such as "loras/flux/style_f16.ckpt"."""

    def __init__(self, folders: Iterable[Folder]):
        self._folders = {folder.name: folder for folder in folders}

    def listing(self) -> list[str]:
        """Every choice, in the order of the folders."""
        return [
            f"{folder.name}/{file}"
            for folder in self._folders.values()
            for file in sorted((file.replace("\\", "/") for file in folder.files if pickable(file)), key=str.casefold)
        ]

    def find(self, choice: str) -> list[Chosen]:
        """The files of a choice, as `whole_model` gives them, links resolved.

        Raises InvalidInput for anything that is not inside one of the folders.
        """
        folder, _, rest = choice.strip().replace("\\", "/").partition("/")
        parts = rest.split("/")
        if folder not in self._folders or any(part in ("", ".", "..") or "\0" in part or ":" in part for part in parts):
            raise InvalidInput(f"{short(choice)} is not in a folder to pick from: choose one of the files that are listed.")
        if not pickable(rest):
            raise InvalidInput(f"{short(choice)} is not a model file by its ending: choose one of the files that are listed.")
        places = [root.joinpath(*parts) for root in self._folders[folder].roots]
        place = next((place for place in places if os.path.lexists(place)), None)
        if place is None:
            raise InvalidInput(f"{short(choice)} is not there: press R to list the files anew, and choose one of them.")
        return [Chosen(one.name, self._resolved(one.path, choice)) for one in whole_model(place)]

    def _resolved(self, place: Path, choice: str) -> Path:
        try:
            path = place.resolve(strict=True)
            roots = [root.resolve() for folder in self._folders.values() for root in folder.roots]
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
            raise InvalidInput(f"{short(choice)} is a link that leads nowhere: choose another file.") from error
        if not any(map(path.is_relative_to, roots)):
            raise InvalidInput(f"{short(choice)} is a link that leads out of the folders to pick from: copy the file there.")
        return path


def check_format(file: Opened, name: str, others: bool) -> None:
    """Raise NotUploadable for what a Draw Things server cannot use under this name. others: send other formats all the same."""
    if others:
        return
    kind = file.format()
    if kind is not Format.draw_things:
        raise NotUploadable(
            f"{file.name!r} is {kind.value}, and a Draw Things server can neither use nor convert it: import it in the Draw Things app and "
            f"upload the {MODEL_ENDING} file that this makes, or switch other_formats on to send it all the same."
        )
    if not name.lower().endswith(MODEL_ENDING):
        raise NotUploadable(f"A Draw Things server does not list {name!r}: upload under a name that ends in {MODEL_ENDING}.")


def pickable(file: str) -> bool:
    """Whether a file of this name can be chosen: by its ending, and not hidden."""
    name = PurePosixPath(file.replace("\\", "/")).name
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in CHOSEN_ENDINGS
