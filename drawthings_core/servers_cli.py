"""drawthings-servers: saved secrets and servers, pinned certificates, and a check of one server."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import time

from . import tls
from .client import Client
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
        print("Stopped; nothing was saved.", file=sys.stderr)
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
    add = command("add", _add, "Save a server under a name.")
    add.add_argument("name")
    _server_arguments(add)
    check = command("check", _check, "Connect to a server and say what answers.")
    _server_arguments(check)
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
        print(f"secret       {name}")
    for address, certificate in profiles.certificates().items():
        print(f"certificate  {address}: {tls.fingerprint(certificate)}")
    print(f"({profiles.path})")
    return 0


def _secret(given: argparse.Namespace, profiles: Profiles) -> int:
    # Never an argument: the process list and the shell's history are public.
    value = getpass.getpass(f"Shared secret for {given.name}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    profiles.save_secret(given.name, value)
    print(f"Saved. Write {given.name} into Load Server's secret field.")
    return 0


def _add(given: argparse.Namespace, profiles: Profiles) -> int:
    host, port = parse_address(given.address)
    profiles.secret(given.secret)
    profiles.save_server(given.name, host, port, TLSMode(given.tls), given.ca_file, given.secret)
    print(f"Saved {given.name}.")
    return 0


def _check(given: argparse.Namespace, profiles: Profiles) -> int:
    server = profiles.server(given.address)
    if server is None:
        host, port = parse_address(given.address)
        server = Server(host, port, TLSMode(given.tls), given.ca_file, profiles.secret(given.secret))
    client = Client(server, profiles)
    try:
        started = time.perf_counter()
        catalog = client.catalog()
        milliseconds = (time.perf_counter() - started) * 1000
        certificate = client.certificate
    finally:
        client.close()
    print(f"{server.address} answers ({milliseconds:.0f} ms).")
    if certificate is None:
        print("Without TLS.")
    else:
        seen = tls.fingerprint(certificate)
        official = " (Draw Things' built-in certificate)" if seen == tls.OFFICIAL_FINGERPRINT else ""
        print(f"TLS, certificate {seen}{official}.")
    print("The shared secret is accepted." if server.secret else "No shared secret is asked for.")
    if catalog.browsing:
        counts = ", ".join(f"{len(entries)} {kind}{'' if len(entries) == 1 else 's'}" for kind, entries in catalog.entries.items())
        print(f"Model browser on: {counts}.")
    else:
        print("Model browser off: type file names by hand, or switch it on in Draw Things (gRPCServerCLI: --model-browser).")
    return 0


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
