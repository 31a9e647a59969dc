#!/usr/bin/env python3
"""Prove in fresh virtual environments that the package runs with the oldest and newest of everything it depends on.

    python3 scripts/check_versions.py --out docs/versions.md        # all environments that this machine has a Python for
    python3 scripts/check_versions.py --only "oldest" --keep        # one of them, left there to look at

Every environment gets the package as a wheel built from this tree. In it, each check runs in a process of its own
(`check_versions.py --inside CHECK`): the messages, tensors, the configuration's FlatBuffers, a generation by our client on
our simulator over TLS, life beside a plugin that registers the same messages, the import as ComfyUI does it.
Exit code 1 when anything failed. A Python that is not there is reported and is not a failure.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "comfyui_drawthings"
REPORTED = ("protobuf", "grpcio", "flatbuffers", "numpy", "fpzip")
TIME_LIMIT = 300  # seconds for one check
PLUGIN_VARIABLE = "DRAWTHINGS_CHECK_PLUGIN"
"""Names the folder of the imageService_pb2.py that stands for the official plugin's; without it one is made."""
PURE_PYTHON = {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}

# fpzip, float16 NHWC [1, 8, 8, 3], element i = ((i mod 17) / 8 - 1): what a server with response compression sends.
COMPRESSED = bytes.fromhex(
    "17720f0001000000020000000000020000000000010000000800000008000000030000000000000000000000000000000000000000000000000000000000"
    "00000000000066707929870ef111ed02fd000007f8000007f8000000ff001384c13c1448f00938563fcc3e88dd36806f19c1db1f7fa57f7a16d214ca63d3"
    "f7730179682f8ed28a59e9f6af3eaa77c946dafa90278746987b53e6b0a077bbba4f3b040daaca529d1b30422c9395e9acd1a201c975c08fca101e578908"
    "419ddc7f6129b264286de5d60caee4a159595b3b3bc6fe86060302ec7fe61b4abf7b174c9afc3754a522be8929c7f4e90c915290481696b970857fb451ee"
    "73a58aabcf061c"
)


class Environment(NamedTuple):
    """One virtual environment: a name, its Python, pip requirements (a bare name is the newest), and what is taken out again."""

    name: str
    python: str
    requirements: tuple[str, ...]
    without: tuple[str, ...] = ()


# A covering set: each pair of neighbours that could quarrel (protobuf with Python and grpcio, numpy with fpzip and Python,
# flatbuffers with numpy) stands in at least one row at both of its ends.
ENVIRONMENTS = (
    Environment("oldest", "3.10", ("protobuf==4.25.*", "grpcio==1.60.*", "flatbuffers==24.3.*", "numpy==1.26.*", "pillow==10.*")),
    Environment("newest, Python 3.10", "3.10", ("protobuf", "grpcio", "flatbuffers", "numpy", "pillow")),
    Environment("protobuf 5", "3.11", ("protobuf==5.29.*", "grpcio==1.60.*", "flatbuffers", "numpy==1.26.*", "pillow")),
    Environment("protobuf 6", "3.12", ("protobuf==6.33.*", "grpcio", "flatbuffers==24.3.*", "numpy", "pillow")),
    Environment(
        "protobuf 7, old rest", "3.12", ("protobuf==7.*", "grpcio==1.60.*", "flatbuffers==24.3.*", "numpy==1.26.*", "pillow==10.*")
    ),
    Environment("protobuf 4, new rest", "3.13", ("protobuf==4.25.*", "grpcio", "flatbuffers", "numpy", "pillow")),
    Environment("newest", "3.13", ("protobuf", "grpcio", "flatbuffers", "numpy", "pillow")),
    Environment("without fpzip", "3.11", ("protobuf==6.33.*", "grpcio", "flatbuffers", "numpy", "pillow"), without=("fpzip",)),
    Environment("newest, Python 3.14", "3.14", ("protobuf", "grpcio", "flatbuffers", "numpy", "pillow"), without=("fpzip",)),
)


# -- inside an environment: only the standard library is imported above, and the package only in here


def _ours(name: str) -> Any:
    return importlib.import_module(f"{PACKAGE}.{name}")


def _expect(truth: object, sentence: str) -> None:
    if not truth:
        raise AssertionError(sentence)


def _filled(message: Any) -> Any:
    """`message` with every field set to something other than its default."""
    from google.protobuf import descriptor_pb2

    kinds = descriptor_pb2.FieldDescriptorProto
    plain: dict[int, Any] = {kinds.TYPE_STRING: "text é", kinds.TYPE_BYTES: b"\0\xff", kinds.TYPE_BOOL: True, kinds.TYPE_ENUM: 1}
    for row in message.DESCRIPTOR.fields:
        value = getattr(message, row.name)
        repeated = hasattr(value, "extend")  # the descriptors' own word for it differs between runtimes
        if row.type == kinds.TYPE_MESSAGE:
            inner = value.add() if repeated else value
            inner.SetInParent()
            _filled(inner)
        elif repeated:
            value.extend([plain[row.type]] * 2)
        else:
            setattr(message, row.name, plain.get(row.type, 7))
    return message


def check_proto() -> None:
    """Every message keeps every field over the wire; presence and enums work; the service's methods are there."""
    messages, service = _ours("proto.messages"), _ours("proto.service")
    classes = {getattr(method, side) for method in service.METHODS.values() for side in ("request", "response")}
    _expect(len(classes) == 12, f"the service has {len(classes)} message classes")
    for found in classes:
        message = _filled(found())
        again = found.FromString(message.SerializeToString())
        _expect(again == message, f"{found.DESCRIPTOR.name} changed on the wire")
        _expect(bool(message.SerializeToString()) == bool(found.DESCRIPTOR.fields), f"{found.DESCRIPTOR.name} is empty")
    request = messages.ImageGenerationRequest(device=messages.LAPTOP)
    _expect(not request.HasField("image"), "presence of an optional field")
    request.image = b""
    _expect(messages.ImageGenerationRequest.FromString(request.SerializeToString()).HasField("image"), "presence of an empty field")
    _expect(service.METHODS["UploadFile"].kind == "stream_stream", "the kind of UploadFile")


def _arrays() -> Iterator[Any]:
    import numpy as np

    noise = np.random.default_rng(1)
    for kind in ("u1", "i4", "i8", "f2", "f4", "f8"):
        for shape in ((2, 64, 64, 3), (96, 64), (1000,)):
            smooth = np.linspace(0, 100, int(np.prod(shape))).reshape(shape)
            yield (smooth + noise.random(shape)).astype(np.dtype(kind))


def check_tensor() -> None:
    """Every datatype and codec gives back what went in, bit for bit."""
    import numpy as np

    tensor = _ours("drawthings_core.tensor")
    used = set()
    for array in _arrays():
        for compress in (False, True):
            data = tensor.encode(array, compress=compress and (tensor.fpzip_available() or array.dtype.kind != "f"))
            used.add(tensor.Header.unpack(data).codec.name)
            again = tensor.decode(data)
            _expect(again.dtype == array.dtype and np.array_equal(again, array), f"{array.dtype} {array.shape} changed")
    if tensor.fpzip_available():
        values = (np.arange(192) % 17 / 8 - 1).astype(np.float16).reshape(1, 8, 8, 3)
        _expect(np.array_equal(tensor.decode(COMPRESSED), values), "a server's compressed tensor is read wrongly")
        _expect(tensor.encode(values, compress=True) == COMPRESSED, "a compressed tensor is not the server's, byte for byte")
    _expect(used == {"RAW", "ZIP", "FPZIP"} - (set() if tensor.fpzip_available() else {"FPZIP"}), f"codecs used: {sorted(used)}")


def other_value(row: Any, record_classes: Any = None) -> Any:
    """A value for a row of the table of settings that is neither the server's default nor the app's."""
    kind = row.kind.name
    if kind == "switch":
        return not row.wire_default
    if kind == "choice":
        return next(member for member in reversed(row.choice) if member not in (row.wire_default, row.default))
    if kind == "text":
        return f"{row.name} é.ckpt"
    if kind == "names":
        return ("first block", "second")
    if kind == "records":
        record = record_classes[row.name]
        return tuple(record({name: other_value(inner) for name, inner in record.ROWS.items()}, file=f"{n}.ckpt") for n in range(2))
    low, high, step = row.hard_minimum, row.hard_maximum, row.step or 1
    middle = low + round((min(high, row.maximum) - low) / 3 / step) * step
    value = round(middle, 4) if kind == "number" else int(middle) // row.multiple * row.multiple
    while value in (row.wire_default, row.default):
        value += row.multiple if kind == "integer" else step
    return value


def full_configuration(configuration: Any) -> Any:
    """A Configuration in which every setting differs from its wire default. configuration: the configuration package."""
    found = configuration.Configuration
    return found({name: other_value(row, found.RECORDS) for name, row in found.ROWS.items()})


def check_configuration() -> None:
    """Every setting survives packing and unpacking; defaults stay off the wire."""
    configuration, flatbuffer = _ours("drawthings_core.configuration"), _ours("drawthings_core.configuration.flatbuffer")
    full = full_configuration(configuration)
    wrong = [name for name, row in full.ROWS.items() if full[name] == row.wire_default]
    _expect(not wrong, f"still at their defaults: {wrong}")
    again = flatbuffer.unpack(flatbuffer.pack(full))
    _expect(again == full, f"changed: {[name for name in full if full[name] != again[name]]}")
    _expect(len(flatbuffer.pack(configuration.Configuration.wire_default())) <= 16, "the default configuration is not empty")


def _generated(folder: Path, *flags: str) -> Any:
    """The pixels that our client gets from our simulator over a real connection with a secret: Echo, then one small picture."""
    client_module, servers = _ours("drawthings_core.client"), _ours("drawthings_core.servers")
    configuration, request = _ours("drawthings_core.configuration"), _ours("drawthings_core.request")
    modes, process = _ours("drawthings_core.tls").TLSMode, _ours("drawthings_core.simulator.process")
    with process.SimulatorProcess("--shared-secret", "secret", "--step-seconds", "0", *flags) as simulator:
        mode = modes.pinned if simulator.tls else modes.plain
        server = servers.Server(simulator.host, simulator.port, mode, secret="secret")
        client = client_module.Client(server, servers.Profiles(folder / "servers.json"))
        _expect(client.echo().message.startswith("HELLO "), "the greeting")
        model = next(path.name for path in sorted(simulator.models_directory.glob("sd_v1*.ckpt")))
        settings = configuration.Configuration(model=model, start_width=128, start_height=192, steps=4, seed=5)
        (picture,) = client.generate(request.GenerationRequest(settings, prompt="a lighthouse")).pictures
        client.close()
    _expect(picture.rgb.shape == (192, 128, 3) and picture.rgb.std() > 0, f"the picture {picture.rgb.shape}")
    return picture.rgb


def check_generate() -> None:
    """A generation over TLS in either codec, and over a plain connection: the same picture."""
    with tempfile.TemporaryDirectory() as folder:
        compressed = _generated(Path(folder), "--model-browser")
        raw = _generated(Path(folder), "--no-response-compression")
        plain = _generated(Path(folder), "--no-tls")
    _expect((raw == compressed).all() and (raw == plain).all(), "codec or connection changed the picture")


# Registers the names in the default pool, as the official plugin's generated module does when it is imported.
PLUGIN_TEMPLATE = '''\
"""imageService_pb2, in the form that protoc 25 writes: the newest one that no protobuf runtime since 4.25 refuses."""

from google.protobuf import descriptor_pool as _descriptor_pool
from google.protobuf.internal import builder as _builder

DESCRIPTOR = _descriptor_pool.Default().AddSerializedFile({serialized!r})
_builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, globals())
_builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, "imageService_pb2", globals())
'''


def _own_descriptor() -> Any:
    """Our imageService.proto, from beside the package's messages."""
    from google.protobuf import descriptor_pb2

    file = Path(_ours("proto").__file__).with_name("imageService.desc")
    return descriptor_pb2.FileDescriptorProto.FromString(file.read_bytes())


def _plugin() -> Any:
    """The plugin's module; see PLUGIN_VARIABLE. The one made here has our messages in a file of another name.

    Were it the very same file, the default pool would take it twice without a word and nothing would be proven.
    """
    with tempfile.TemporaryDirectory() as folder:
        given = os.environ.get(PLUGIN_VARIABLE)
        if not given:
            theirs = _own_descriptor()
            theirs.name = "plugin/imageService.proto"
            code = PLUGIN_TEMPLATE.format(serialized=theirs.SerializeToString())
            (Path(folder) / "imageService_pb2.py").write_text(code, encoding="utf-8")
        sys.path.insert(0, given or folder)
        return importlib.import_module("imageService_pb2")


def check_second_definition_is_refused() -> None:
    """The trouble itself: once the plugin is loaded, protobuf's default pool refuses our messages, and says why."""
    from google.protobuf import descriptor_pool

    _plugin()
    try:
        descriptor_pool.Default().AddSerializedFile(_own_descriptor().SerializeToString())
    except TypeError as error:
        print(error)
        _expect(os.environ.get(PLUGIN_VARIABLE) or "duplicate symbol" in str(error), f"refused with other words: {error}")
    else:
        raise AssertionError("a second definition was accepted, so the checks beside the plugin prove nothing")


def _use_both(plugin: Any) -> None:
    """Both sets of classes in turn; the plugin's protocol may be older than ours."""
    messages = _ours("proto.messages")
    for name in ("EchoReply", "ImageGenerationRequest", "ImageGenerationResponse", "FileUploadRequest"):
        ours, theirs = getattr(messages, name), getattr(plugin, name)
        _expect(ours is not theirs, f"{name} is one class")
        sent, received = _filled(ours()), _filled(theirs())
        there_and_back = ours.FromString(theirs.FromString(sent.SerializeToString()).SerializeToString())
        _expect(there_and_back == sent, f"our {name} changed in theirs")
        back_and_there = theirs.FromString(ours.FromString(received.SerializeToString()).SerializeToString())
        _expect(back_and_there == received, f"their {name} changed in ours")
    with tempfile.TemporaryDirectory() as folder:
        _generated(Path(folder), "--no-tls")
    _expect(plugin.EchoReply(message="x").message == "x", "theirs after our call")


def check_after_the_plugin() -> None:
    """The plugin first, then ours; both used, ours over a connection."""
    _use_both(_plugin())


def check_before_the_plugin() -> None:
    """Ours first, then the plugin."""
    _ours("proto.service")
    _use_both(_plugin())


def load_as_comfyui(folder: Path) -> Any:
    """The package in `folder` imported as ComfyUI does it: under its full path, dots replaced."""
    name = str(folder).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def check_as_comfyui() -> None:
    """ComfyUI's way of importing, from a linked folder with hyphen and dot in its name, with its own modules loaded; then both ways."""
    import types

    sys.modules.update({name: types.ModuleType(name) for name in ("nodes", "proto", "server", "execution", "utils", "runner")})
    installed = importlib.util.find_spec(PACKAGE)
    assert installed is not None
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder).resolve() / "My-Draw.Things"
        link.symlink_to(Path((installed.submodule_search_locations or [""])[0]), target_is_directory=True)
        module = load_as_comfyui(link)
        client = importlib.import_module(f"{module.__name__}.drawthings_core.client")
        ours = _ours("drawthings_core.client")
        _expect(client.Client is not ours.Client, "the two imports share their classes")
        replies = [importlib.import_module(f"{name}.proto.messages").EchoReply for name in (module.__name__, PACKAGE)]
        _expect(replies[1].FromString(replies[0](message="x").SerializeToString()).message == "x", "messages of both imports")
        _expect(isinstance(sys.modules["nodes"], types.ModuleType) and not hasattr(sys.modules["nodes"], "__file__"), "nodes replaced")


def check_pure_python_protobuf() -> None:
    """protobuf's Python implementation, which some node packs ask for by environment variable."""
    from google.protobuf.internal import api_implementation

    _expect(api_implementation.Type() == "python", f"the implementation is {api_implementation.Type()}")
    check_proto()
    check_before_the_plugin()


def check_without_fpzip() -> None:
    """Everything but compressed floats works, and those end in a sentence that says what to do."""
    tensor, errors = _ours("drawthings_core.tensor"), _ours("drawthings_core.errors")
    _expect(not tensor.fpzip_available(), "fpzip is installed")
    check_tensor()
    floats = next(array for array in _arrays() if array.dtype.kind == "f")
    for attempt in (lambda: tensor.decode(COMPRESSED), lambda: tensor.encode(floats, compress=True)):
        try:
            attempt()
        except errors.CodecUnavailable as error:
            _expect("install fpzip" in str(error) and "compression off" in str(error), f"the sentence is: {error}")
        else:
            raise AssertionError("a compressed tensor was taken without fpzip")


CHECKS: dict[str, Callable[[], None]] = {
    "messages": check_proto,
    "tensors": check_tensor,
    "configuration": check_configuration,
    "generation": check_generate,
    "second definition refused": check_second_definition_is_refused,
    "after the plugin": check_after_the_plugin,
    "before the plugin": check_before_the_plugin,
    "as ComfyUI": check_as_comfyui,
    "pure-Python protobuf": check_pure_python_protobuf,
    "fpzip missing": check_without_fpzip,
}


def run_inside(name: str) -> int:
    """Run one check here; a failure's reason is the last line of stderr."""
    if name == "versions":
        found = {}
        for package in REPORTED:
            try:
                found[package] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                found[package] = "-"
        print(json.dumps({"Python": ".".join(map(str, sys.version_info[:3])), **found}))
    else:
        CHECKS[name]()
    return 0


# -- outside: environments, and the table


class Failed(Exception):
    """A command of the proof failed; the text is its reason in one line."""


def _run(command: list[str], folder: Path, limit: float | None = None, **environment: str) -> str:
    """Standard output of `command`, run in `folder` without our Python settings. Raises Failed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DRAWTHINGS_", "PROTOCOL_BUFFERS_"))}
    environment = {**inherited, "DRAWTHINGS_HOME": str(folder / "home"), **environment}
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        raise Failed(f"no end after {limit:g} s") from None
    except OSError as error:
        raise Failed(str(error)) from error
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise Failed(lines[-1].strip() if lines else f"exit code {done.returncode}")
    return done.stdout


def find_python(version: str, folder: Path) -> str | None:
    """An interpreter of that minor version that can make environments: on the PATH, or kept by pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    beside = [Path(entry) / f"python{version}" for entry in os.environ.get("PATH", "").split(os.pathsep) if entry]
    candidates = [Path(sys.executable), *beside, *sorted(pyenv.glob(f"versions/{version}.*/bin/python"), reverse=True)]
    test = "import ensurepip, ssl, sys, venv; print('%d.%d' % sys.version_info[:2])"
    for candidate in candidates:
        if candidate.exists():
            try:
                if _run([str(candidate), "-c", test], folder, 60).strip() == version:
                    return str(candidate)
            except Failed:
                continue  # a shim for a version that is not there
    return None


@dataclass
class Row:
    """What one environment gave."""

    environment: Environment
    versions: dict[str, str] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    skipped: str = ""


class Prover:
    """Makes the environments in `folder` and runs the checks in them."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._wheel: Path | None = None

    def prove(self, environment: Environment) -> Row:
        row = Row(environment)
        python = find_python(environment.python, self._folder)
        if python is None:
            row.skipped = f"Python {environment.python} is not on this machine"
            return row
        try:
            interpreter = self._install(environment, python)
            row.versions = json.loads(self._inside(interpreter, "versions"))
        except Failed as failure:
            row.failures.append(f"installing: {failure}")
            return row
        for name in self._checks(environment):
            row.ran.append(name)
            try:
                self._inside(interpreter, name, **(PURE_PYTHON if name == "pure-Python protobuf" else {}))
            except Failed as failure:
                row.failures.append(f"{name}: {failure}")
        return row

    @staticmethod
    def _checks(environment: Environment) -> list[str]:
        return [name for name in CHECKS if name != "fpzip missing" or "fpzip" in environment.without]

    def _inside(self, interpreter: str, check: str, **variables: str) -> str:
        return _run([interpreter, "-I", str(Path(__file__).resolve()), "--inside", check], self._folder, TIME_LIMIT, **variables)

    def _install(self, environment: Environment, python: str) -> str:
        home = self._folder / re.sub(r"\W+", "-", environment.name)
        _run([python, "-m", "venv", str(home)], self._folder)
        interpreter = str(home / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
        pip = [interpreter, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        wheel = self._built(pip)
        # Wheels only: a missing one would start a compiler for minutes.
        _run([*pip, "install", "--only-binary", ":all:", *environment.requirements, f"{wheel}[simulator]"], self._folder)
        present = [name for name in environment.without if self._has(interpreter, name)]
        if present:
            _run([*pip, "uninstall", "--yes", *present], self._folder)
        return interpreter

    def _has(self, interpreter: str, package: str) -> bool:
        return json.loads(self._inside(interpreter, "versions")).get(package) != "-"

    def _built(self, pip: list[str]) -> Path:
        """The package as a wheel, built once, from a copy because setuptools writes beside its sources."""
        if self._wheel is None:
            copy = self._folder / "source"
            unwanted = shutil.ignore_patterns(".git", ".venv", "*.egg-info", "__pycache__", "build", "out", "node_modules", ".*_cache")
            shutil.copytree(ROOT, copy, ignore=unwanted)
            _run([*pip, "wheel", "--no-deps", "--wheel-dir", str(self._folder / "wheel"), str(copy)], self._folder)
            (self._wheel,) = (self._folder / "wheel").glob("*.whl")
        return self._wheel


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = [["Environment", "Python", *REPORTED, "What ran", "Result"]]
    for row in rows:
        result = row.skipped or "; ".join(row.failures) or "ok"
        versions = [row.versions.get(name, "") for name in ("Python", *REPORTED)]
        versions[0] = versions[0] or row.environment.python
        lines.append(
            [row.environment.name, *versions, ", ".join(row.ran), ("FAILED: " if row.failures else "") + result.replace("|", "\\|")]
        )
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="also write the table into this file, with the command that makes it")
    parser.add_argument("--only", action="append", metavar="NAME", help="only this environment; may be given again")
    parser.add_argument("--keep", action="store_true", help="leave the environments where they are and say where")
    parser.add_argument("--inside", choices=["versions", *CHECKS], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        return run_inside(arguments.inside)
    unknown = set(arguments.only or ()) - {environment.name for environment in ENVIRONMENTS}
    if unknown:
        parser.error(f"no such environment: {', '.join(sorted(unknown))}; there are {', '.join(row.name for row in ENVIRONMENTS)}")
    folder = Path(tempfile.mkdtemp(prefix="drawthings-versions-")).resolve()
    try:
        prover = Prover(folder)
        rows = []
        for environment in ENVIRONMENTS:
            if not arguments.only or environment.name in arguments.only:
                print(f"{environment.name} ...", file=sys.stderr, flush=True)
                rows.append(prover.prove(environment))
    finally:
        if arguments.keep:
            print(f"The environments are in {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(table(rows))
    if arguments.out:
        arguments.out.write_text(f"`python3 scripts/check_versions.py --out docs/versions.md`\n\n{table(rows)}", encoding="utf-8")
    return 1 if any(row.failures for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
