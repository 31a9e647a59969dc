"""The wire's definitions: generated code is current, the protocol is complete, and it loads beside anything and in any way."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from comfyui_drawthings.proto import generate, messages, service
from google.protobuf import descriptor_pb2

ROOT = Path(__file__).resolve().parents[1]

# Every message of the protocol: number, name, type, and "opt" (presence is tracked), "rep" or "oneof <name>".
MESSAGES = {
    "EchoRequest": "1 name string, 2 sharedSecret string opt",
    "ComputeUnitThreshold": "1 community double, 2 plus double, 3 expireAt int64",
    "EchoReply": """
        1 message string, 2 files string rep, 3 override MetadataOverride opt, 4 sharedSecretMissing bool,
        5 thresholds ComputeUnitThreshold opt, 6 serverIdentifier uint64
    """,
    "FileListRequest": "1 files string rep, 2 filesWithHash string rep, 3 sharedSecret string opt",
    "FileExistenceResponse": "1 files string rep, 2 existences bool rep, 3 hashes bytes rep",
    "MetadataOverride": "1 models bytes, 2 loras bytes, 3 controlNets bytes, 4 textualInversions bytes, 5 upscalers bytes",
    "ImageGenerationRequest": """
        1 image bytes opt, 2 scaleFactor int32, 3 mask bytes opt, 4 hints HintProto rep, 5 prompt string,
        6 negativePrompt string, 7 configuration bytes, 8 override MetadataOverride, 9 keywords string rep, 10 user string,
        11 device DeviceType, 12 contents bytes rep, 13 sharedSecret string opt, 14 chunked bool
    """,
    "HintProto": "1 hintType string, 2 tensors TensorAndWeight rep",
    "TensorAndWeight": "1 tensor bytes, 2 weight float",
    "ImageGenerationSignpostProto": """
        1 textEncoded .TextEncoded oneof signpost, 2 imageEncoded .ImageEncoded oneof signpost,
        3 sampling .Sampling oneof signpost, 4 imageDecoded .ImageDecoded oneof signpost,
        5 secondPassImageEncoded .SecondPassImageEncoded oneof signpost,
        6 secondPassSampling .SecondPassSampling oneof signpost,
        7 secondPassImageDecoded .SecondPassImageDecoded oneof signpost, 8 faceRestored .FaceRestored oneof signpost,
        9 imageUpscaled .ImageUpscaled oneof signpost
    """,
    "ImageGenerationSignpostProto.TextEncoded": "",
    "ImageGenerationSignpostProto.ImageEncoded": "",
    "ImageGenerationSignpostProto.Sampling": "1 step int32",
    "ImageGenerationSignpostProto.ImageDecoded": "",
    "ImageGenerationSignpostProto.SecondPassImageEncoded": "",
    "ImageGenerationSignpostProto.SecondPassSampling": "1 step int32",
    "ImageGenerationSignpostProto.SecondPassImageDecoded": "",
    "ImageGenerationSignpostProto.FaceRestored": "",
    "ImageGenerationSignpostProto.ImageUpscaled": "",
    "RemoteDownloadResponse": "1 bytesReceived int64, 2 bytesExpected int64, 3 item int32, 4 itemsExpected int32, 5 tag string",
    "ImageGenerationResponse": """
        1 generatedImages bytes rep, 2 currentSignpost ImageGenerationSignpostProto opt,
        3 signposts ImageGenerationSignpostProto rep, 4 previewImage bytes opt, 5 scaleFactor int32 opt, 6 tags string rep,
        7 downloadSize int64 opt, 8 chunkState ChunkState, 9 remoteDownload RemoteDownloadResponse opt,
        10 generatedAudio bytes rep
    """,
    "FileUploadRequest": """
        1 initRequest InitUploadRequest oneof request, 2 chunk FileChunk oneof request, 3 sharedSecret string opt
    """,
    "InitUploadRequest": "1 filename string, 2 sha256 bytes, 3 totalSize int64",
    "FileChunk": "1 content bytes, 2 filename string, 3 offset int64",
    "UploadResponse": "1 chunkUploadSuccess bool, 2 receivedOffset int64, 3 message string, 4 filename string",
    "PubkeyRequest": "1 name string",
    "PubkeyResponse": "1 message string, 2 pubkey string",
    "HoursRequest": "",
    "HoursResponse": "1 thresholds ComputeUnitThreshold",
}
ENUMS = {"DeviceType": {"PHONE": 0, "TABLET": 1, "LAPTOP": 2}, "ChunkState": {"LAST_CHUNK": 0, "MORE_CHUNKS": 1}}
METHODS = {
    "GenerateImage": ("ImageGenerationRequest", "ImageGenerationResponse", "unary_stream"),
    "FilesExist": ("FileListRequest", "FileExistenceResponse", "unary_unary"),
    "UploadFile": ("FileUploadRequest", "UploadResponse", "stream_stream"),
    "Echo": ("EchoRequest", "EchoReply", "unary_unary"),
    "Pubkey": ("PubkeyRequest", "PubkeyResponse", "unary_unary"),
    "Hours": ("HoursRequest", "HoursResponse", "unary_unary"),
}


# -- generated code


def _need_compilers() -> None:
    missing = generate.missing_compilers()
    if missing:
        pytest.skip(f"the compilers that the generated code is pinned to are not installed: {' '.join(missing)}")


def test_generated_code_is_current():
    _need_compilers()
    done = subprocess.run([sys.executable, str(ROOT / "proto" / "generate.py"), "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize(
    ("source", "old", "new", "stale"),
    [
        ("imageService.proto", "string prompt = 5;", "string prompt = 15;", {"imageService.desc"}),
        ("imageService.proto", "string prompt = 5;", "string promptText = 5;", {"imageService.desc", "messages.pyi"}),
        ("config.fbs", "clip_skip: uint = 1;", "clip_skip: uint = 2;", {"config_generated.py"}),
    ],
)
def test_check_notices_a_changed_source(source, old, new, stale, tmp_path):
    _need_compilers()
    for name in ("imageService.proto", "config.fbs", "generate.py", *generate.OUTPUTS):
        text = (ROOT / "proto" / name).read_bytes()
        assert name != source or old.encode() in text
        (tmp_path / name).write_bytes(text.replace(old.encode(), new.encode()) if name == source else text)
    done = subprocess.run([sys.executable, str(tmp_path / "generate.py"), "--check"], capture_output=True, text=True)
    assert done.returncode == 1
    assert set(done.stdout.split()) - {"stale:"} == {f"proto/{name}" for name in stale}


# -- the protocol's table


def _file() -> descriptor_pb2.FileDescriptorProto:
    return descriptor_pb2.FileDescriptorProto.FromString((ROOT / "proto" / "imageService.desc").read_bytes())


def _nested(rows: Any, prefix: str = "") -> Iterator[tuple[str, descriptor_pb2.DescriptorProto]]:
    for row in rows:
        yield prefix + row.name, row
        yield from _nested(row.nested_type, f"{prefix}{row.name}.")


def _described(message: descriptor_pb2.DescriptorProto) -> set[str]:
    """The fields as MESSAGES writes them; nested types by their last part."""
    kinds = descriptor_pb2.FieldDescriptorProto
    fields = set()
    for row in message.field:
        kind = kinds.Type.Name(row.type).removeprefix("TYPE_").lower()
        if row.type_name:
            kind = row.type_name.removeprefix(".").replace(f"{message.name}.", ".")
        words = [str(row.number), row.name, kind]
        if row.label == kinds.LABEL_REPEATED:
            words.append("rep")
        elif row.proto3_optional:
            words.append("opt")
        elif row.HasField("oneof_index"):
            words += ["oneof", message.oneof_decl[row.oneof_index].name]
        fields.add(" ".join(words))
    return fields


def test_every_message_is_there_and_no_other():
    assert {name for name, _ in _nested(_file().message_type)} == set(MESSAGES)


@pytest.mark.parametrize("name", MESSAGES)
def test_message_has_its_fields(name):
    expected = {" ".join(field.split()) for field in MESSAGES[name].split(",") if field.strip()}
    assert _described(dict(_nested(_file().message_type))[name]) == expected


def test_enums():
    assert {enum.name: {value.name: value.number for value in enum.value} for enum in _file().enum_type} == ENUMS
    assert {name: getattr(messages, name) for values in ENUMS.values() for name in values} == {
        name: number for values in ENUMS.values() for name, number in values.items()
    }


def test_there_is_no_package():
    assert _file().package == ""
    assert _file().syntax == "proto3"


def test_classes_are_those_of_the_table():
    for name in MESSAGES:
        if "." not in name:
            assert getattr(messages, name).DESCRIPTOR.full_name == name


def test_presence_of_an_empty_field_is_kept():
    request = messages.ImageGenerationRequest()
    assert not request.HasField("mask")
    request.mask = b""
    again = messages.ImageGenerationRequest.FromString(request.SerializeToString())
    assert again.HasField("mask")
    assert not again.HasField("image")


def test_fields_of_a_newer_server_are_kept():
    reply = messages.EchoReply.FromString(b"\xfa\x01\x03new" + messages.EchoReply(message="HELLO").SerializeToString())
    assert reply.message == "HELLO"
    assert b"new" in reply.SerializeToString()


# -- the service


def test_methods():
    found = {name: (row.request.DESCRIPTOR.name, row.response.DESCRIPTOR.name, row.kind) for name, row in service.METHODS.items()}
    assert found == METHODS
    assert {name: row.path for name, row in service.METHODS.items()} == {name: f"/ImageGenerationService/{name}" for name in METHODS}


@pytest.fixture
def channel() -> Iterator[grpc.Channel]:
    """A channel to a server on the loopback that answers every method in the least way."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    service.add_servicer(
        server,
        {
            "Echo": lambda request, _: messages.EchoReply(message=f"HELLO {request.name}"),
            "FilesExist": lambda request, _: messages.FileExistenceResponse(files=request.files),
            "Pubkey": lambda request, _: messages.PubkeyResponse(message=request.name),
            "Hours": lambda _request, _: messages.HoursResponse(),
            "GenerateImage": lambda request, _: iter([messages.ImageGenerationResponse(tags=[word]) for word in request.prompt.split()]),
            "UploadFile": lambda requests, _: (messages.UploadResponse(filename=request.chunk.filename) for request in requests),
        },
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    server.stop(None)


def test_stub_and_servicer_speak_to_each_other(channel):
    stub = service.Stub(channel)
    assert stub.Echo(messages.EchoRequest(name="me"), timeout=5).message == "HELLO me"
    assert stub.FilesExist(messages.FileListRequest(files=["a"]), timeout=5).files == ["a"]
    assert stub.Pubkey(messages.PubkeyRequest(name="k"), timeout=5).message == "k"
    assert not stub.Hours(messages.HoursRequest(), timeout=5).HasField("thresholds")
    replies = list(stub.GenerateImage(messages.ImageGenerationRequest(prompt="two words"), timeout=5))
    assert [list(reply.tags) for reply in replies] == [["two"], ["words"]]
    chunks = [messages.FileUploadRequest(chunk=messages.FileChunk(filename=name)) for name in "ab"]
    assert [reply.filename for reply in stub.UploadFile(iter(chunks), timeout=5)] == ["a", "b"]


def test_bytes_on_the_wire(channel):
    """The path and the bytes written by hand, so that stub and servicer cannot agree on something wrong."""
    echo = channel.unary_unary("/ImageGenerationService/Echo")  # without serializers: bytes
    assert echo(b"\x0a\x02me", timeout=5) == b"\x0a\x08HELLO me"
    generate_image = channel.unary_stream("/ImageGenerationService/GenerateImage")
    assert list(generate_image(b"\x2a\x01x", timeout=5)) == [b"\x32\x01x"]


def test_unknown_handler_name_is_refused():
    with pytest.raises(KeyError):
        service.add_servicer(grpc.server(futures.ThreadPoolExecutor(1)), {"Generate": lambda request, _: None})


# -- beside the official plugin, whose generated module registers these names in protobuf's default pool


def _inside(check: str, **variables: str) -> str:
    """What one check of scripts/check_versions.py printed, in a process of its own."""
    command = [sys.executable, str(ROOT / "scripts" / "check_versions.py"), "--inside", check]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **variables}, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def older_plugin(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with what the installed protoc makes of an older protocol, in a file of the same name as ours."""
    if importlib.util.find_spec("grpc_tools") is None:
        pytest.skip("grpcio-tools is not installed")
    folder = tmp_path_factory.mktemp("plugin")
    source = (ROOT / "proto" / "imageService.proto").read_text(encoding="utf-8")
    older = source.replace("  repeated bytes generatedAudio = 10;\n", "")
    assert older != source
    (folder / "imageService.proto").write_text(older, encoding="utf-8")
    command = ["-m", "grpc_tools.protoc", f"-I{folder}", f"--python_out={folder}", "imageService.proto"]
    subprocess.run([sys.executable, *command], check=True)
    return str(folder)


def test_second_definition_in_the_default_pool_is_refused():
    assert "duplicate symbol 'DeviceType'" in _inside("second definition refused")


def test_second_definition_of_the_same_file_is_refused(older_plugin):
    assert "duplicate file name" in _inside("second definition refused", DRAWTHINGS_CHECK_PLUGIN=older_plugin)


@pytest.mark.parametrize("check", ["after the plugin", "before the plugin"])
def test_beside_the_official_plugin(check):
    _inside(check)


@pytest.mark.parametrize("check", ["after the plugin", "before the plugin"])
def test_beside_an_older_plugin(check, older_plugin):
    _inside(check, DRAWTHINGS_CHECK_PLUGIN=older_plugin)


def test_python_implementation_of_protobuf():
    _inside("pure-Python protobuf", PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION="python")


# -- the three ways in which the package is loaded

LOADER = """
import importlib, importlib.util, json, sys, types
from pathlib import Path

# ComfyUI's own modules of these names are loaded before any custom node.
for name in ("nodes", "proto", "server", "execution", "utils", "runner", "tests", "web"):
    sys.modules[name] = types.ModuleType(name)

def installed():
    return importlib.import_module("comfyui_drawthings")

def as_comfyui():
    folder = Path(sys.argv[1])
    name = str(folder).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module

modules = [{"installed": installed, "as_comfyui": as_comfyui}[way]() for way in sys.argv[2:]]
found = []
for module in modules:
    classes = module.NODE_CLASS_MAPPINGS
    for node in classes.values():
        node.INPUT_TYPES()
    reply = sys.modules[module.__name__ + ".proto.messages"].EchoReply(message=module.__name__)
    found.append({
        "name": module.__name__,
        "nodes": sorted(classes),
        "titles": sorted(module.NODE_DISPLAY_NAME_MAPPINGS),
        "web": module.WEB_DIRECTORY,
        "reply": type(reply).FromString(reply.SerializeToString()).message,
        "classes": sorted({id(node) for node in classes.values()}),
    })
print(json.dumps({"found": found, "decoys": [name for name in ("nodes", "proto", "server") if hasattr(sys.modules[name], "__file__")]}))
"""


def _load(link: Path, *ways: str) -> list[dict[str, Any]]:
    done = subprocess.run([sys.executable, "-c", LOADER, str(link), *ways], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["decoys"] == []
    return answer["found"]


@pytest.mark.parametrize(
    "ways",
    [("installed",), ("as_comfyui",), ("as_comfyui", "installed")],
    ids=" then ".join,
)
def test_loading(ways, tmp_path):
    pytest.importorskip("torch")
    link = tmp_path / "My-Draw.Things"
    link.symlink_to(ROOT, target_is_directory=True)
    found = _load(link, *ways)
    names = {"installed": "comfyui_drawthings", "as_comfyui": str(link).replace(".", "_x_")}
    for way, row in zip(ways, found, strict=True):
        assert row["name"] == row["reply"] == names[way]
        assert row["nodes"] == row["titles"]
        assert "DrawThingsGenerate" in row["nodes"]
        assert all(node.startswith("DrawThings") for node in row["nodes"])
        assert (link / row["web"]).resolve().parent == ROOT
    if len(found) == 2:
        assert found[0]["nodes"] == found[1]["nodes"]
        assert not set(found[0]["classes"]) & set(found[1]["classes"])
