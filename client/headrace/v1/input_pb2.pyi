from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class InputKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INPUT_KIND_UNSPECIFIED: _ClassVar[InputKind]
    INPUT_KIND_PERMISSION: _ClassVar[InputKind]
    INPUT_KIND_QUESTION: _ClassVar[InputKind]

class InputResolution(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INPUT_RESOLUTION_UNSPECIFIED: _ClassVar[InputResolution]
    INPUT_RESOLUTION_ALLOWED: _ClassVar[InputResolution]
    INPUT_RESOLUTION_DENIED: _ClassVar[InputResolution]
    INPUT_RESOLUTION_EXPIRED: _ClassVar[InputResolution]
    INPUT_RESOLUTION_WITHDRAWN: _ClassVar[InputResolution]
INPUT_KIND_UNSPECIFIED: InputKind
INPUT_KIND_PERMISSION: InputKind
INPUT_KIND_QUESTION: InputKind
INPUT_RESOLUTION_UNSPECIFIED: InputResolution
INPUT_RESOLUTION_ALLOWED: InputResolution
INPUT_RESOLUTION_DENIED: InputResolution
INPUT_RESOLUTION_EXPIRED: InputResolution
INPUT_RESOLUTION_WITHDRAWN: InputResolution

class InputRequest(_message.Message):
    __slots__ = ("request_id", "kind", "tool_name", "input_json", "tool_use_id")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TOOL_NAME_FIELD_NUMBER: _ClassVar[int]
    INPUT_JSON_FIELD_NUMBER: _ClassVar[int]
    TOOL_USE_ID_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    kind: InputKind
    tool_name: str
    input_json: str
    tool_use_id: str
    def __init__(self, request_id: _Optional[str] = ..., kind: _Optional[_Union[InputKind, str]] = ..., tool_name: _Optional[str] = ..., input_json: _Optional[str] = ..., tool_use_id: _Optional[str] = ...) -> None: ...

class InputAnswer(_message.Message):
    __slots__ = ("request_id", "allow", "message", "updated_input_json", "interrupt")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ALLOW_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    UPDATED_INPUT_JSON_FIELD_NUMBER: _ClassVar[int]
    INTERRUPT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    allow: bool
    message: str
    updated_input_json: str
    interrupt: bool
    def __init__(self, request_id: _Optional[str] = ..., allow: _Optional[bool] = ..., message: _Optional[str] = ..., updated_input_json: _Optional[str] = ..., interrupt: _Optional[bool] = ...) -> None: ...
