"""drawthings-simulator: gRPCServerCLI's flags and ours.

stdout carries JSON lines only: one {"event": "ready", ...} at the start, answers to --control, and a trap's last words.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc

from ...proto import messages
from .. import tensor
from . import advertise, catalog, certificate, faults, relay, server
from .generation import Settings
from .server import Options, Simulator

_GRACE = 0.2  # seconds for open calls when the server stops
_IGNORED_WITH_VALUE = (
    ("--gpu", "-g"),
    ("--weights-cache", "-w"),
    ("--datadog-api-key", "-d"),
    ("--secondary-models-directory",),
    ("--blob-store-access-key",),
    ("--blob-store-secret",),
    ("--blob-store-endpoint",),
    ("--blob-store-bucket",),
    ("--cache-uri",),
    ("--max-crashes-within-time-window",),
    ("--crash-time-window",),
    ("--join",),
    ("--cancellation-warning-timeout",),
    ("--cancellation-crash-timeout",),
)
_IGNORED_SWITCHES = ("--no-flash-attention", "--debug", "--cpu-offload", "--fread-preferred", "--supervised")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="drawthings-simulator",
        description="A Draw Things server without the diffusion: the protocol and habits of gRPCServerCLI, with painted pictures.",
        epilog="Faults: " + "; ".join(f"{name} ({meaning})" for name, meaning in faults.FAULTS.items()),
        allow_abbrev=False,
    )
    real = made.add_argument_group("as gRPCServerCLI")
    real.add_argument("models_directory", nargs="?", type=Path, help="without it a temporary one is filled with a believable set")
    real.add_argument("--name", "-n", default="Simulator", help="in the announcement of --advertise (default Simulator)")
    real.add_argument("--address", "-a", default="127.0.0.1", help="to listen on (default 127.0.0.1; the real server takes 0.0.0.0)")
    real.add_argument("--port", "-p", type=int, default=7859, help="0 takes a free one (default 7859)")
    real.add_argument("--shared-secret", "-s", default="")
    real.add_argument("--no-tls", action="store_true")
    real.add_argument("--no-response-compression", action="store_true")
    real.add_argument("--model-browser", action="store_true")
    real.add_argument("--echo-on-queue", action="store_true")
    for names in _IGNORED_WITH_VALUE:
        real.add_argument(*names, help=argparse.SUPPRESS)
    for name in _IGNORED_SWITCHES:
        real.add_argument(name, action="store_true", help=argparse.SUPPRESS)
    ours = made.add_argument_group("of the simulator")
    ours.add_argument("--step-seconds", type=float, default=0.02, help="duration of one progress step (default 0.02)")
    ours.add_argument(
        "--picture",
        choices=("scene", "plain", "prepared"),
        default="scene",
        help="plain: a flat colour; prepared: always the same one, encoded once, so that answering costs nothing",
    )
    ours.add_argument("--strict", action="store_true", help="end the process where the real one would trap")
    ours.add_argument("--strict-keep-running", action="store_true", help="drop only the call where the real server would trap")
    ours.add_argument("--certificate", type=Path, help="PEM file of the TLS certificate")
    ours.add_argument("--key", type=Path, help="PEM file of its key")
    ours.add_argument("--certificate-directory", type=Path, help="keeps the made certificate from run to run")
    ours.add_argument("--certificate-expired", action="store_true", help="the made certificate ended yesterday")
    ours.add_argument(
        "--certificate-name", action="append", metavar="DNS", help="names of the made certificate in place of localhost and *"
    )
    ours.add_argument("--remote-downloads", type=int, default=0, metavar="N", help="each generation first downloads N files")
    ours.add_argument(
        "--proxy", nargs="?", type=float, const=10.0, metavar="SECONDS", help="behave as the cloud's proxy: heartbeats while queued, ..."
    )
    ours.add_argument("--gpus", type=int, default=1, metavar="N", help="generations at once, as behind a proxy (default 1)")
    ours.add_argument(
        "--thresholds",
        type=_thresholds,
        metavar="COMMUNITY,PLUS,UNIX_TIME",
        help="compute units that Hours raises the cloud's limits to, and until when; a proxy tells them in Echo too",
    )
    ours.add_argument(
        "--advertise",
        nargs="?",
        choices=advertise.KINDS,
        const="app",
        help="be found on the local network: as the app does it (needs zeroconf), or as malformed as gRPCServerCLI on Linux",
    )
    ours.add_argument("--pubkey", default="", metavar="TEXT", help="what Pubkey answers (default: nothing, as the real server)")
    ours.add_argument("--fault", action="append", default=[], metavar="NAME[=VALUE][@CALLS]", help="what shall go wrong; see below")
    ours.add_argument("--relay", action="store_true", help="have connections pass through a relay of bytes, for the fault stall_inside")
    ours.add_argument("--control", action="store_true", help="JSON commands as lines on stdin; ends when stdin closes")
    return made


class Session:
    """One run of the command: the server, its temporary directory, and how it ends."""

    def __init__(self, arguments: argparse.Namespace):
        self._arguments = arguments
        self._temporary: Path | None = None
        self._stop = threading.Event()
        self._output = threading.Lock()
        self._simulator = Simulator(catalog.ModelsDirectory(self._models()), _options(arguments), self.leave)
        for text in arguments.fault:
            self._simulator.faults.set(*faults.parse(text))

    def _models(self) -> Path:
        given: Path | None = self._arguments.models_directory
        if given is not None:
            if not given.is_dir():
                raise OSError(f"The models directory {given} does not exist.")
            return given
        self._temporary = Path(tempfile.mkdtemp(prefix="drawthings-simulator-"))
        catalog.fill(self._temporary)
        return self._temporary

    def run(self) -> int:
        """Serve until a signal, or the end of stdin in control mode."""
        chosen = _certificate(self._arguments)
        running, port = self._listen(chosen)
        announced = None
        if self._arguments.advertise:
            arguments = self._arguments
            announced = advertise.Advertiser(arguments.advertise, arguments.name, arguments.address, port, chosen is not None)
        for name in ("SIGTERM", "SIGINT"):
            signal.signal(getattr(signal, name), lambda *_: self._stop.set())
        self._say(
            {
                "event": "ready",
                "address": self._arguments.address,
                "port": port,
                "tls": chosen is not None,
                "fingerprint": chosen.fingerprint if chosen else None,
                "certificate": chosen.leaf if chosen else None,
                "root_certificate": chosen.root if chosen else None,
                "models_directory": str(self._simulator.directory.path),
                "temporary": self._temporary is not None,
            }
        )
        if self._arguments.control:
            threading.Thread(target=self._control, name="control", daemon=True).start()
        while not self._stop.wait(0.5):  # a bare wait() would keep signals from being handled on Windows
            pass
        if announced is not None:
            announced.close()
        running.stop(_GRACE).wait(2 * _GRACE)
        self.leave(0)
        return 0

    def _listen(self, chosen: certificate.Certificate | None) -> tuple[grpc.Server, int]:
        """The running server, and the port for clients."""
        arguments = self._arguments
        if not arguments.relay:
            return server.start(self._simulator, arguments.address, arguments.port, chosen)
        running, inner = server.start(self._simulator, "127.0.0.1", 0, chosen)
        self._simulator.relay = relay.Relay(inner, arguments.address, arguments.port)
        return running, self._simulator.relay.port

    def leave(self, code: int) -> None:
        """End the process now, whatever its threads do, and take the temporary directory along."""
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    def _say(self, line: dict[str, Any]) -> None:
        with self._output:
            print(json.dumps(line), flush=True)

    def _control(self) -> None:
        for line in sys.stdin:
            if not line.strip():
                continue
            try:
                answer = {"ok": True, **self._obey(json.loads(line))}
            except Exception as error:  # a bad command must not end the channel
                answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
            self._say(answer)
        self._stop.set()

    def _obey(self, command: dict[str, Any]) -> dict[str, Any]:
        name, simulator = command.get("command"), self._simulator
        if name == "requests":
            return {"requests": simulator.log.all()}
        if name == "clear":
            simulator.clear()
        elif name == "state":
            return simulator.state()
        elif name == "set_fault":
            simulator.faults.set(command["name"], command.get("value"), command.get("calls"))
        elif name == "clear_faults":
            simulator.faults.clear()
        elif name == "clear_traps":
            simulator.traps.clear()
        elif name == "set":
            simulator.options.settings = replace(simulator.options.settings, **{command["name"]: command["value"]})
        elif name == "faults":
            return {"faults": faults.FAULTS}
        elif name == "stop":
            self._stop.set()
        elif name != "ping":
            raise ValueError(f"no such command: {name!r}")
        return {}


def _thresholds(text: str) -> messages.ComputeUnitThreshold:
    try:
        community, plus, until = text.split(",")
        return messages.ComputeUnitThreshold(community=float(community), plus=float(plus), expireAt=int(until))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not COMMUNITY,PLUS,UNIX_TIME") from error


def _options(arguments: argparse.Namespace) -> Options:
    compress = not arguments.no_response_compression
    if compress and not tensor.fpzip_available():
        print("fpzip is not installed: responses are not compressed.", file=sys.stderr)
        compress = False
    return Options(
        shared_secret=arguments.shared_secret,
        model_browser=arguments.model_browser,
        echo_on_queue=arguments.echo_on_queue,
        strict="drop" if arguments.strict_keep_running else "exit" if arguments.strict else "",
        proxy_seconds=arguments.proxy,
        gpus=max(1, arguments.gpus),
        thresholds=arguments.thresholds,
        pubkey=arguments.pubkey,
        settings=Settings(arguments.step_seconds, compress, arguments.remote_downloads, arguments.picture),
    )


def _certificate(arguments: argparse.Namespace) -> certificate.Certificate | None:
    if arguments.no_tls:
        return None
    if bool(arguments.certificate) != bool(arguments.key):
        raise certificate.CertificateProblem("--certificate and --key belong together.")
    if arguments.certificate:
        return certificate.read(arguments.certificate, arguments.key)
    wanted: dict[str, Any] = {"expired": arguments.certificate_expired}
    if arguments.certificate_name:
        wanted["names"] = tuple(arguments.certificate_name)
    if arguments.certificate_directory:
        return certificate.kept(arguments.certificate_directory, **wanted)
    return certificate.make(**wanted)


def main(argv: list[str] | None = None) -> int:
    """Entry point. 2: the command line, the certificate or the address is not usable."""
    arguments = parser().parse_args(argv)
    try:
        return Session(arguments).run()
    except (OSError, advertise.CannotAdvertise, certificate.CertificateProblem, faults.UnknownFault) as error:
        print(f"drawthings-simulator: {error}", file=sys.stderr)
        return 2
