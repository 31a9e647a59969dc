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

for _message in _file_proto.message_type:
    globals()[_message.name] = message_factory.GetMessageClass(_pool.FindMessageTypeByName(_message.name))
for _enum in _file_proto.enum_type:
    for _value in _enum.value:
        globals()[_value.name] = _value.number

del _message, _enum, _value
