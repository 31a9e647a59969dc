"""Message classes of imageService.proto, in a descriptor pool of our own.

Draw Things' messages have no package, and other node packs register the same names ("DeviceType", ...) in protobuf's
default pool, where a second definition is refused. Generated `_pb2` code also refuses a protobuf runtime older than the
compiler. A serialized descriptor in a private pool has neither problem; `messages.pyi` gives type checkers the classes.
"""

from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_DESCRIPTOR_FILE = Path(__file__).with_name("imageService.desc")

_pool = descriptor_pool.DescriptorPool()
_file_proto = descriptor_pb2.FileDescriptorProto.FromString(_DESCRIPTOR_FILE.read_bytes())
_pool.AddSerializedFile(_file_proto.SerializeToString())

SERVICE = _pool.FindServiceByName("ImageGenerationService")
SERVICE_PROTO = _file_proto.service[0]  # protobuf's Python implementation cannot copy it back out of a service's descriptor

globals().update(
    {found.name: message_factory.GetMessageClass(_pool.FindMessageTypeByName(found.name)) for found in _file_proto.message_type}
)
globals().update({value.name: value.number for enum in _file_proto.enum_type for value in enum.value})
