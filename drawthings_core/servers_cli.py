"""drawthings-servers: saved secrets and servers, pinned certificates; what a server has, and uploads to it."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from . import discovery, file_check, model_files, report, tls, uploading
from .client import Cancellation, Client
from .errors import DrawThingsError
from .servers import DEFAULT_PORT, Profiles, Server, parse_address
from .tls import TLSMode


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when it worked, 1 for an error that is printed as one sentence."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its own log lines say the same in its words
    given = _parser().parse_args(arguments)
    try:
        return given.run(given, Profiles())
    except DrawThingsError as error:
        print(error, file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):
        print("Stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # "... | head" has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="drawthings-servers", description="Servers, secrets and certificates that the nodes know by name."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name, run, help_text):
        added = commands.add_parser(name, help=help_text, description=help_text)
        added.set_defaults(run=run)
        return added

    command("list", _list, "Show what is saved; secrets by name only.")
    secret = command("secret", _secret, "Save a shared secret under a name (asked for, or read from standard input).")
    secret.add_argument("name")
    allow = command("allow", _allow, "Let workflows send a saved secret to an address; to this machine and to saved servers they may.")
    allow.add_argument("name", help="of the secret")
    allow.add_argument("address", help="host or host:port")
    add = command("add", _add, "Save a server under a name.")
    add.add_argument("name")
    _server_arguments(add)
    check = command("check", _check, "Connect to a server and say what answers and what it has.")
    _server_arguments(check)
    check.add_argument("--json", action="store_true", help="for programs")
    files = command("files", _files, "Say which files are on a server; ends with 1 when one is missing or differs.")
    _server_arguments(files)
    files.add_argument("file", nargs="+", help="name on the server, with its SHA-256 if that matters ('SHA256 NAME'); - reads lines")
    files.add_argument(
        "--hashes", action="store_true", help="have the server hash every file: it reads them whole, and answers nobody meanwhile"
    )
    files.add_argument("--minutes", type=float, default=file_check.DEFAULT_MINUTES, help="to wait for hashes (default %(default)s)")
    files.add_argument("--json", action="store_true", help="for programs")
    upload = command("upload", _upload, "Put a model file into a server's models folder.")
    _server_arguments(upload)
    upload.add_argument("file", type=Path)
    upload.add_argument("--name", default="", help="on the server (default: the file's own)")
    upload.add_argument(
        "--existing",
        choices=[one.value for one in uploading.Existing],
        default=uploading.Existing.keep.value,
        help="a file of that name with other contents; equal ones are not sent, but for 'send anyway' (default %(default)s)",
    )
    upload.add_argument("--other-formats", action="store_true", help="send what a Draw Things server cannot use, such as safetensors")
    discover = command("discover", _discover, "Listen for servers on the local network.")
    discover.add_argument(
        "--seconds", type=float, default=5.0, help="how long; a server on Linux is heard once a minute (default %(default)s)"
    )
    discover.add_argument("--interface", action="append", metavar="ADDRESS", help="of a network card of this machine (default: all)")
    discover.add_argument("--json", action="store_true", help="for programs")
    accept = command("accept", _accept, "Trust the certificate that a server shows now.")
    accept.add_argument("address", help="host or host:port")
    forget = command("forget", _forget, "Remove a saved secret or server by name, or a certificate by address.")
    forget.add_argument("name", help="name, or host:port")
    return parser


def _server_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("address", help=f"host or host:port (port {DEFAULT_PORT} unless given), or the name of a saved server")
    parser.add_argument("--tls", choices=[mode.value for mode in TLSMode], default=TLSMode.auto.value)
    parser.add_argument("--ca-file", default="", help="PEM file, for --tls 'CA file'")
    parser.add_argument("--secret", default="", metavar="NAME", help="name of a saved secret")


def _list(_given: argparse.Namespace, profiles: Profiles) -> int:
    for name, row in profiles.server_rows().items():
        print(
            f"server       {name}: {row['host']}:{row['port']}, TLS {row['tls']}" + (f", secret {row['secret']}" if row["secret"] else "")
        )
    for name in profiles.secret_names():
        allowed = profiles.allowed(name)
        print(f"secret       {name}" + (f", for {', '.join(allowed)}" if allowed else ""))
    for address, certificate in profiles.certificates().items():
        print(f"certificate  {address}: {tls.fingerprint(certificate)}")
    print(f"({profiles.path})")
    return 0


def _secret(given: argparse.Namespace, profiles: Profiles) -> int:
    # Never an argument: the process list and the shell's history are public.
    typed = getpass.getpass(f"Shared secret for {given.name}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    profiles.save_secret(given.name, typed)
    print(f"Saved. Write {given.name} into Load Server's secret field.")
    if not profiles.allowed(given.name):
        print(f"Servers on other machines: 'drawthings-servers allow {given.name} HOST:PORT' lets workflows send it there.")
    return 0


def _allow(given: argparse.Namespace, profiles: Profiles) -> int:
    host, port = parse_address(given.address)
    profiles.allow(given.name, host, port)
    print(f"Workflows may send {given.name} to {Server(host, port).address}.")
    return 0


def _add(given: argparse.Namespace, profiles: Profiles) -> int:
    host, port = parse_address(given.address)
    profiles.secret(given.secret)
    profiles.save_server(given.name, host, port, TLSMode(given.tls), given.ca_file, given.secret)
    print(f"Saved {given.name}.")
    return 0


def _check(given: argparse.Namespace, profiles: Profiles) -> int:
    with _client(given, profiles) as client:
        try:
            told = report.ask(client)
        except DrawThingsError as error:
            print(error, file=sys.stderr)
            change = report.what_to_change(error, client.server.port)
            if change is not None:
                print(f"In the app: {change.app}\nOn the command line: {change.command}", file=sys.stderr)
            return 1
    print(told.json() if given.json else told.text())
    return 0


def _discover(given: argparse.Namespace, _profiles: Profiles) -> int:
    with discovery.Discovery(given.interface) as listening:
        time.sleep(max(0.0, given.seconds))
        found = listening.found()
    if given.json:
        print(json.dumps([{"name": one.name, "host": one.host, "port": one.port, "tls": one.tls} for one in found], ensure_ascii=False))
        return 0 if found else 1
    for one in found:
        encrypted = {True: "TLS", False: "no TLS", None: "TLS unknown"}[one.tls]
        print(f"{report.one_line(one.name)}: {one.address}, {encrypted}")
    if found:
        return 0
    longer = discovery.ANNOUNCED_EVERY + 5
    patient = "" if given.seconds >= longer else f" A server on Linux is heard once a minute: try --seconds {longer:.0f}."
    print(
        "No server was heard. In the Draw Things app, switch the API server on; both machines must be on the "
        f"same network, and it must let multicast pass.{patient}",
        file=sys.stderr,
    )
    return 1


def _files(given: argparse.Namespace, profiles: Profiles) -> int:
    files = file_check.wanted("\n".join(given.file) if given.file != ["-"] else sys.stdin.read())
    with _client(given, profiles) as client:
        told = file_check.check(client, files, hashes=given.hashes, minutes=given.minutes, tell=_hashing)
    print(told.json() if given.json else told.text())
    return 0 if told.all_right else 1


def _hashing(file: str, number: int, total: int) -> None:
    print(f"{file_check.HASHING.format(file=file, number=number + 1, total=total)} ...", file=sys.stderr)


def _upload(given: argparse.Namespace, profiles: Profiles) -> int:
    shown = _Shown()
    with _client(given, profiles) as client:
        done = uploading.upload_model(
            client,
            model_files.whole_model(given.file),
            given.name,
            Cancellation(),
            existing=uploading.Existing(given.existing),
            other_formats=given.other_formats,
            on_progress=shown,
        )
        shown.end()
        catalog = client.catalog(max_age=0)
    for one in done:
        print(f"{one}\n{uploading.what_became_of(one.name, catalog)}")
    return 0


class _Shown:
    """Progress on one line, where stderr is a terminal."""

    def __init__(self) -> None:
        self._width = 0

    def __call__(self, progress: uploading.UploadProgress) -> None:
        if sys.stderr.isatty():
            text = str(progress)
            print(f"\r{text:<{self._width}}", end="", file=sys.stderr, flush=True)
            self._width = len(text)

    def end(self) -> None:
        if self._width:
            print(f"\r{'':<{self._width}}\r", end="", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _client(given: argparse.Namespace, profiles: Profiles) -> Iterator[Client]:
    """A connection of its own to the server that the arguments name."""
    server = profiles.server(given.address)
    if server is None:
        host, port = parse_address(given.address)
        server = Server(host, port, TLSMode(given.tls), given.ca_file, profiles.secret(given.secret))
    client = Client(server, profiles)
    try:
        yield client
    finally:
        client.close()


def _accept(given: argparse.Namespace, profiles: Profiles) -> int:
    host, port = parse_address(given.address)
    seen = tls.probe(host, port)
    if not seen.speaks_tls:
        print(f"The server at {host}:{port} does not speak TLS: there is no certificate to accept.", file=sys.stderr)
        return 1
    profiles.pin(Server(host, port).address, seen.certificate)
    print(f"Accepted {seen.fingerprint} for {host}:{port}.")
    return 0


def _forget(given: argparse.Namespace, profiles: Profiles) -> int:
    removed = profiles.forget(given.name)
    if not removed:
        print(f"Nothing is saved as {given.name}.", file=sys.stderr)
        return 1
    print(f"Forgot the {' and '.join(removed)} {given.name}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
