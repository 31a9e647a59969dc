"""Addresses, and what is remembered about servers on this machine: secrets, saved servers, pinned certificates.

Nothing here ends up in a workflow: a graph names a secret or a server, and the value is looked up here when it runs.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import itertools
import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from .errors import InvalidInput, ProfileError, SecretNotAllowed
from .secret import Secret
from .tls import TLSMode, join_address

DEFAULT_PORT = 7859
LAST_PORT = 65535
_LONGEST_NAME = 253
HOME_VARIABLE = "DRAWTHINGS_HOME"
SECRET_VARIABLE = "DRAWTHINGS_SECRET"
"""DRAWTHINGS_SECRET_<NAME> in the environment is the secret <NAME>, before the file is asked."""
SERVERS_VARIABLE = "DRAWTHINGS_SERVERS"
"""Addresses in the environment, with spaces or commas between: every secret may go there, as if `Profiles.allow` had been asked."""


class CompressUploads(str, Enum):
    """Whether pictures are compressed before they are sent. auto: where the measured transfer rate says that it pays."""

    auto = "auto"
    always = "always"
    never = "never"


@dataclass(frozen=True)
class Server:
    """One server and how to reach it. secret: a text becomes a Secret; ca_file: a path, for TLSMode.ca_file only.

    compress_uploads: how a graph wants to send to it; it is the same server either way.
    """

    host: str
    port: int = DEFAULT_PORT
    tls: TLSMode = TLSMode.auto
    ca_file: str = ""
    secret: Secret | None = field(default=None, repr=False)
    compress_uploads: CompressUploads = field(default=CompressUploads.auto, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.secret, str):
            object.__setattr__(self, "secret", Secret(self.secret))

    @property
    def address(self) -> str:
        """host:port, with brackets around an IPv6 address."""
        return join_address(self.host, self.port)


@dataclass(frozen=True)
class ServerPool:
    """Several servers as one, in the order in which they are asked. One that is in it more than once gets as many requests at a time, which
    suits a proxy with several GPUs: it does not tell how many it has.
    """

    servers: tuple[Server, ...]

    @property
    def address(self) -> str:
        """For sentences about all of them."""
        return ", ".join(server.address for server in self.different)

    @property
    def different(self) -> tuple[Server, ...]:
        """Each of them once."""
        return tuple(dict.fromkeys(self.servers))


def parse_address(text: str, default_port: int = DEFAULT_PORT) -> tuple[str, int]:
    """ "host", "host:port", "[v6]:port", or any of them behind "scheme://" -> (host, port). Raises InvalidInput."""
    rest = re.sub(r"^\w+://", "", text.strip()).rstrip("/")
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s:/\[\]]+))(?::(\d{1,5}))?", rest)
    if match is None and re.fullmatch(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.%\w]*", rest):
        return rest, default_port  # a bare IPv6 address
    if match is None or len(rest) > _LONGEST_NAME:
        raise InvalidInput(f"{text[:_LONGEST_NAME]!r} is not a server address: write host or host:port, such as 192.168.1.20:7859.")
    port = int(match.group(3)) if match.group(3) else default_port
    if not 1 <= port <= LAST_PORT:
        raise InvalidInput(f"The port {port} does not exist: ports go from 1 to {LAST_PORT}, Draw Things' own is {DEFAULT_PORT}.")
    return match.group(1) or match.group(2), port


def home() -> Path:
    """The folder of the profile file: $DRAWTHINGS_HOME, else ~/.drawthings-comfyui."""
    return Path(os.environ.get(HOME_VARIABLE) or Path.home() / ".drawthings-comfyui")


_LOCAL_ENDINGS = (".local", ".localhost", ".lan", ".home", ".home.arpa", ".internal", ".intranet", ".ts.net")


def is_local_name(name: str) -> bool:
    """Whether a name is one that nobody on the internet can lead to an address of his choice: without a dot, or with an ending of home networks."""
    name = name.rstrip(".").lower()
    return "." not in name or name.endswith(_LOCAL_ENDINGS)


def is_this_machine(host: str) -> bool:
    """Whether a host is spelled as one of this machine's own loopback addresses. A name that merely leads there is not."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def one_spelling(host: str, port: int) -> str:
    """An address as it is compared with others, so that no workflow gets round a pin by writing it otherwise."""
    name = host.rstrip(".").lower()
    with contextlib.suppress(ValueError):
        name = str(ipaddress.ip_address(name))
    return join_address(name, port)


def _respelled(address: str) -> str:
    try:
        return one_spelling(*parse_address(address))
    except InvalidInput:  # somebody wrote it into the file
        return address


def _variable(secret: str) -> str:
    """The variable in the environment that stands for the secret of this name."""
    return f"{SECRET_VARIABLE}_{re.sub(r'[^A-Za-z0-9]', '_', secret).upper()}"


_SERVER_ROW: dict[str, type] = {"host": str, "port": int, "tls": str, "ca_file": str, "secret": str}
_SHAPES: dict[str, type | dict[str, type]] = {"secrets": str, "servers": _SERVER_ROW, "certificates": str, "allowed": list}
"""The parts of the profile file, and what each of their values is. allowed: addresses by name of the secret that may go there."""
_FORGOTTEN = ("secrets", "servers", "certificates")
_LONGEST_LABEL = 100
NO_SERVER = "none"
"""What a list of saved servers offers besides; no server has that name."""


_Data = dict[str, dict[str, Any]]
"""The profile file, by part; secrets are Secret."""


def _fits(part: Any, shape: type | dict[str, type]) -> bool:
    if not isinstance(part, dict):
        return False
    if isinstance(shape, dict):
        return all(isinstance(row, dict) and all(isinstance(row.get(key), kind) for key, kind in shape.items()) for row in part.values())
    if shape is list:
        return all(isinstance(value, list) and all(isinstance(one, str) for one in value) for value in part.values())
    return all(isinstance(value, shape) for value in part.values())


class Profiles:
    """The profile file (JSON, mode 0600): secrets by name, servers by name, pinned certificates by address, and where each secret may go.

    A graph is somebody else's as often as not, and names addresses and secrets. So a secret goes by itself only to this machine, to saved
    servers that use it, and to addresses that were allowed for it.

    Every read looks at the file, so that the command line and a running ComfyUI see each other's changes; every write
    replaces it in one step, one process at a time.
    """

    _lock = threading.Lock()
    _allowed_for_now: set[tuple[str, str]] = set()

    def __init__(self, path: Path | None = None):
        self.path = path or home() / "servers.json"

    def secret(self, name: str) -> Secret | None:
        """The secret saved as `name`; None for no name. Raises ProfileError when there is none of that name."""
        if not name:
            return None
        value = Secret(os.environ.get(_variable(name), "")) or self._read()["secrets"].get(name)
        if not value:
            # The name is not repeated: someone may have written the secret itself there.
            raise ProfileError(
                "The secret that is named here is not saved on this machine: save it in the sidebar's Draw Things tab or with "
                "'drawthings-servers secret NAME', and write that name, never the secret itself."
            )
        return value

    def secret_for(self, name: str, host: str, port: int, mode: TLSMode = TLSMode.auto) -> Secret | None:
        """The secret saved as `name`, to be sent to this address. Raises ProfileError: SecretNotAllowed when it may not go there, and when
        it would go in the clear although the server there is known to speak TLS.
        """
        value = self.secret(name)
        if value is not None and not self.may_go(name, host, port):
            raise SecretNotAllowed(name, join_address(host, port))
        if value is not None and mode is TLSMode.plain and not is_this_machine(host) and self._speaks_tls(host, port):
            address = join_address(host, port)
            raise ProfileError(
                f"The workflow would send a saved secret to {address} without TLS, which the server there is known to speak: choose auto in Load "
                f"Server, or if you switched TLS off there, forget its certificate in the sidebar's Draw Things tab or with "
                f"'drawthings-servers forget {address}', and save the server as plain."
            )
        return value

    def _speaks_tls(self, host: str, port: int) -> bool:
        """Whether the server at an address was seen or saved as one with TLS, and not saved as one without."""
        address = one_spelling(host, port)
        modes = {row["tls"] for row in self._read()["servers"].values() if one_spelling(row["host"], row["port"]) == address}
        if TLSMode.plain.value in modes:
            return False
        return bool(modes - {TLSMode.auto.value}) or self.certificate(address) is not None

    def may_go(self, name: str, host: str, port: int) -> bool:
        """Whether a graph may have this secret sent there."""
        address = one_spelling(host, port)
        return is_this_machine(host) or (name, address) in self._allowed_for_now or address in self._allowed(name)

    def allow(self, name: str, host: str, port: int, keep: bool = True) -> None:
        """Let this secret go to an address from now on. keep: also after this process."""
        self.secret(name)
        address = one_spelling(host, port)
        if not keep:
            self._allowed_for_now.add((name, address))
            return
        with self._changing() as data:
            addresses = data["allowed"].setdefault(name, [])
            if address not in addresses:
                addresses.append(address)

    def allowed(self, name: str) -> list[str]:
        """The addresses that the secret may go to, besides this machine."""
        return sorted(self._allowed(name))

    def _allowed(self, name: str) -> set[str]:
        data = self._read()
        saved = {one_spelling(row["host"], row["port"]) for row in data["servers"].values() if row["secret"] == name}
        named = re.split(r"[\s,]+", os.environ.get(SERVERS_VARIABLE, "").strip())
        return {*saved, *data["allowed"].get(name, ()), *(one_spelling(*parse_address(one)) for one in named if one)}

    def secret_names(self) -> list[str]:
        return sorted(self._read()["secrets"])

    def save_secret(self, name: str, value: str | Secret) -> None:
        value = _sealed(value)
        with self._changing() as data:
            _put_secret(data, name, value)

    def server(self, name: str) -> Server | None:
        """The server saved as `name`, with its secret, or None."""
        row = self._read()["servers"].get(name)
        if row is None:
            return None
        try:
            mode = TLSMode(row["tls"])
        except ValueError as error:
            raise ProfileError(f"The saved server {name!r} has an unknown TLS mode: save it again.") from error
        return Server(row["host"], row["port"], mode, row["ca_file"], self.secret(row["secret"]))

    def server_rows(self) -> dict[str, dict[str, Any]]:
        """Saved servers by name: host, port, tls, ca_file and the name of the secret."""
        return dict(sorted(self._read()["servers"].items()))

    def save_server(
        self,
        name: str,
        host: str,
        port: int,
        tls: TLSMode,
        ca_file: str = "",
        secret: str = "",
        *,
        new_secret: str | Secret = "",
        instead_of: str | None = None,
    ) -> str:
        """Save a server; the name of its secret. secret: the name of one that is saved.

        new_secret: a secret to save with it, as `secret` when that is only this server's, else under a name that is made from the server's.
        instead_of: the saved server that this replaces, "" for none, and no other is; None: whatever has the name. Raises ProfileError.
        """
        new_secret = _sealed(new_secret)
        _check_label(name)
        with self._changing() as data:
            if instead_of is not None and instead_of != name and name in data["servers"]:
                raise ProfileError(f"There is another saved server {name!r}: choose another name.")
            data["servers"].pop(instead_of or "", None)
            if new_secret:
                secret = _name_for_secret(data, name, secret)
                _put_secret(data, secret, new_secret)
            data["servers"][name] = {"host": host, "port": port, "tls": tls.value, "ca_file": ca_file, "secret": secret}
        return secret

    def certificate(self, address: str) -> str | None:
        """PEM of the certificate pinned for an address, however it is spelled, or None."""
        wanted = _respelled(address)
        return next((pem for pinned, pem in self._read()["certificates"].items() if _respelled(pinned) == wanted), None)

    def certificates(self) -> dict[str, str]:
        """Pinned certificates (PEM) by address."""
        return dict(sorted(self._read()["certificates"].items()))

    def pin(self, address: str, certificate: str) -> None:
        with self._changing() as data:
            _unpin(data, address)
            data["certificates"][address] = certificate

    def forget(self, name: str, kinds: Iterable[str] = _FORGOTTEN) -> list[str]:
        """Remove the secret, server and certificate of that name or address, or those of these kinds; the kinds that were there."""
        removed = []
        with self._changing() as data:
            for kind in kinds:
                there = _unpin(data, name) if kind == "certificates" else data[kind].pop(name, None) is not None
                if there:
                    removed.append(kind.removesuffix("s"))
                if kind == "secrets":
                    data["allowed"].pop(name, None)
        return removed

    def _read(self) -> _Data:
        try:
            data, problem = _parsed(self.path)
        except OSError as error:
            raise ProfileError(
                f"The file of saved servers {self.path.name} cannot be read ({error.strerror}): let ComfyUI's user read it."
            ) from error
        if problem:
            raise ProfileError(f"The file of saved servers {self.path.name} cannot be used ({problem}): repair or remove it.")
        return data

    @contextlib.contextmanager
    def _changing(self) -> Iterator[_Data]:
        with self._lock, self._alone():
            data = self._read()
            yield data
            self._replace(data)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Let no other process change the file meanwhile, where the file system can lock. Raises ProfileError."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self.path.with_name(_LOCK_FILE), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            if self._locked(handle):
                self._clear_up()
            yield
        finally:
            os.close(handle)  # which unlocks it

    def _locked(self, handle: int) -> bool:
        """Wait for the lock; False where there are no locks. Raises ProfileError."""
        end = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                _lock_file(handle)
                return True
            except OSError as error:
                if error.errno not in _TAKEN:
                    return False
                if time.monotonic() > end:
                    raise ProfileError("Another program keeps the file of saved servers locked: try again when it has ended.") from error
            time.sleep(0.02)

    def _clear_up(self) -> None:
        """Remove what a process left that ended while it wrote: it may hold secrets. Only who has the lock does that."""
        for left in self.path.parent.glob(f"{_TEMPORARY}*"):
            with contextlib.suppress(OSError):
                left.unlink()

    def _replace(self, data: _Data) -> None:
        try:
            handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=_TEMPORARY)  # mkstemp makes it 0600, whatever the umask
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(json.dumps({"version": 1, **data}, indent=2, default=Secret.reveal))
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, self.path)
            except BaseException:
                os.unlink(temporary)
                raise
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> ProfileError:
        return ProfileError(
            f"The file of saved servers cannot be written ({error.strerror}): make its folder {self.path.parent} writable, or set {HOME_VARIABLE}."
        )


_LOCK_FILE = ".servers.lock"
_TEMPORARY = ".servers-"
_LOCK_SECONDS = 5.0
_TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
"""What a lock that another process has gives, on all systems."""


def _lock_file(handle: int) -> None:
    """Raises OSError, at once."""
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _parsed(path: Path) -> tuple[_Data, str]:
    """What a profile file holds, and what is wrong with it. Raises OSError.

    Errors of JSON and UTF-8 hold all of the text, and so the secrets: they are told in words, not chained.
    """
    data: Any = {}
    try:
        data = json.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        pass
    except json.JSONDecodeError as error:
        return {}, f"it is not JSON at line {error.lineno}"
    except UnicodeDecodeError:
        return {}, "it is not UTF-8"
    except (ValueError, RecursionError):
        return {}, "it is not JSON"
    if not isinstance(data, dict) or not all(_fits(data.get(kind, {}), shape) for kind, shape in _SHAPES.items()):
        return {}, "it is not in its form"
    found = {kind: dict(data.get(kind, {})) for kind in _SHAPES}
    return {**found, "secrets": {name: Secret(value) for name, value in found["secrets"].items()}}, ""


def _sealed(value: str | Secret) -> Secret:
    return value if isinstance(value, Secret) else Secret(value)


def _unpin(data: _Data, address: str) -> bool:
    """Remove the certificates of an address, however it is spelled; whether there were any."""
    wanted = _respelled(address)
    there = [one for one in data["certificates"] if _respelled(one) == wanted]
    for one in there:
        del data["certificates"][one]
    return bool(there)


def _check_label(name: str) -> None:
    """Raise ProfileError for what cannot name a saved server: Load Server takes addresses in the same field."""
    try:
        ipaddress.ip_address(name)
        is_address = True
    except ValueError:
        is_address = ":" in name or name.lower() == "localhost"
    if not name or name != name.strip() or len(name) > _LONGEST_LABEL or not name.isprintable():
        raise ProfileError(f"A saved server needs a name on one line, of at most {_LONGEST_LABEL} characters: type another.")
    if set(name) & set("<>&"):  # Load Server's list shows it, and some frontends take that for HTML
        raise ProfileError("A saved server's name cannot hold <, > or &: choose another.")
    if is_address or name == NO_SERVER:
        raise ProfileError(f"A saved server cannot be called {name!r}: choose a name that is no address, such as Studio.")


def _put_secret(data: _Data, name: str, value: Secret) -> None:
    if not name or not value:
        raise ProfileError("A secret needs a name and a value.")
    if any("\ud800" <= character <= "\udfff" for character in name + value.reveal()):
        raise ProfileError("The secret holds bytes that are not text: type it again, or save it as UTF-8.")
    data["secrets"][name] = value


def _name_for_secret(data: _Data, server: str, wanted: str) -> str:
    """A name for a new secret of this server, which is not among `data`'s servers now; no other server's secret is overwritten."""
    used = {row["secret"] for other, row in data["servers"].items() if other != server}
    if wanted and wanted not in used:
        return wanted
    names = itertools.chain((server,), (f"{server} {number}" for number in itertools.count(2)))
    return next(name for name in names if name not in data["secrets"] and _variable(name) not in os.environ)
