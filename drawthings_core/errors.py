"""What can go wrong, as one tree. `str(error)` is one sentence that says what happened and what the user can do.

DrawThingsError
├── InvalidInput              our side refused it: nothing was sent
│   ├── InvalidSetting        one field of the configuration
│   ├── InvalidImage          an image, a mask or a hint
│   ├── FileNotOnServer       a model, LoRA, control or upscaler that the server does not have
│   ├── ModelBrowserOff       no model is named, and the server lists none
│   ├── FileNotUsable         a file that is there and is not what it is used as
│   ├── MetadataError         settings inside a picture that cannot be read
│   ├── NoMetadata            a picture without settings
│   ├── FamilyMismatch        a LoRA, control, refiner or textual inversion of another family
│   ├── NotAnEditingModel     an instruction for a model that follows none
│   └── NotUploadable         a file of this machine that is not sent to a server
├── FileNotWritten            a result that cannot be saved on this machine
├── ProfileError              saved servers, secrets and pinned certificates on this machine
│   └── SecretNotAllowed      a saved secret that a graph would send to an address where it has not been allowed to go
├── DiscoveryUnavailable      servers on the local network cannot be looked for
├── ConnectionFailed          nothing usable answered
│   ├── ServerUnreachable     refused, no route, no such host, no answer in time
│   ├── TLSMismatch           one side speaks TLS and the other does not
│   ├── CertificateRejected   not trusted, expired or unreadable
│   ├── CertificateChanged    not the one pinned for this address
│   └── ConnectionLost        the server was there and went away during a call
│       └── ServerStalled     it is there, and gives no sign of life, or nothing of what it was asked for
├── SecretRejected            the shared secret is missing or wrong
├── ServerFailed              the server answered with an error status
│   ├── QuotaExceeded         PERMISSION_DENIED with throttlePolicy
│   ├── AccessDenied          PERMISSION_DENIED, UNAUTHENTICATED
│   ├── MessageTooLarge       RESOURCE_EXHAUSTED
│   ├── NotSupported          UNIMPLEMENTED
│   └── UploadFailed          the server did not keep an uploaded file
├── BadResult                 the call ended well but what arrived is unusable
│   ├── NoImage               status OK without any image
│   ├── TensorError           bytes that are not a tensor of the expected kind
│   │   ├── TensorCutOff      its payload ends too early
│   │   ├── DecoderFailed     its decoder ran out of time or memory
│   │   └── CodecUnavailable  a compressed tensor, and fpzip is not installed here
│   │       └── DecoderUnavailable  a compressed tensor, and no process can be started to decode it
│   └── NonFiniteImage        NaN or infinity in an image
├── AllServersFailed          of several servers used as one, none gave a result
└── GenerationCancelled       the user stopped it: an outcome, not a failure
"""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from enum import Enum


class DrawThingsError(Exception):
    """Raised on purpose by this package; `str(e)` is a sentence the user can act on, and holds no secret."""

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        # ComfyUI shows "module.Name" unless the module is builtins; ours would be a path of the user's disk.
        cls.__module__ = "builtins"


class InvalidInput(DrawThingsError):
    """A request that we refuse to send, because the server would reject, misread or crash on it."""


class InvalidSetting(InvalidInput):
    """A configuration field out of its range. `field` is the name users see, `allowed` completes "allowed is ..."."""

    def __init__(self, field: str, value: object, allowed: str):
        super().__init__(f"{field} is {short(value)}, but allowed is {allowed}.")
        self.field = field
        self.value = value
        self.allowed = allowed


class InvalidImage(InvalidInput):
    """An image, mask or hint of a wrong shape, type or value."""


class FileNotOnServer(InvalidInput):
    """A file the server does not have. It would silently use another model, or skip the LoRA, control or upscaler."""

    def __init__(self, kind: str, file: str, address: str, suggestions: Sequence[str] = (), listed: bool = True):
        hint = "download it in Draw Things or choose another."
        if suggestions:
            hint = f"did you mean {' or '.join(suggestions)}? Choose it, or download this one in Draw Things."
        elif not listed:
            hint = "the server does not list its files, so check the spelling of the name, with its ending."
        super().__init__(f"{kind} {short(file)} is not on the server at {address}: {hint}")
        self.kind = kind
        self.file = file
        self.suggestions = tuple(suggestions)


class ModelBrowserOff(InvalidInput):
    """A model has to be named by hand, since the server does not list its own."""

    def __init__(self) -> None:
        super().__init__(
            "No model is chosen, and the server does not list its models: type the model's file name, or switch model browsing on in "
            "Draw Things (gRPCServerCLI: --model-browser)."
        )


class FileNotUsable(InvalidInput):
    """A file that is on the server, but is of another kind, or unknown to it; it would be misread or skipped."""


class MetadataError(InvalidInput):
    """Settings in a picture file that are damaged; `detail` says how."""

    def __init__(self, detail: str):
        super().__init__(
            f"The Draw Things settings in the picture cannot be read ({detail}): export it from Draw Things again, or use Load Image, "
            f"which takes the picture alone."
        )
        self.detail = detail


class NoMetadata(InvalidInput):
    """A picture in which Draw Things left no settings."""

    def __init__(self) -> None:
        super().__init__(
            "The picture holds no Draw Things settings, which other programs often drop when they save or send a picture: choose the file "
            "that Draw Things or Save Image (Draw Things) wrote, or use Load Image."
        )


class FamilyMismatch(InvalidInput):
    """A LoRA, control, refiner or textual inversion made for another family than the model's; a server skips or misreads it."""

    def __init__(self, kind: str, title: str, family: str, model: str, model_family: str):
        super().__init__(f"{kind} {title} is for {family}, but {model} is {model_family}: choose one made for {model_family}.")


class NotAnEditingModel(InvalidInput):
    """An instruction about a picture for a model that follows none. choices: files on the server that do."""

    def __init__(self, model: str, family: str, families: Sequence[str], choices: Sequence[str] = ()):
        super().__init__(
            f"{model}, a {family} model, follows no instructions about an image: choose an instruction model of {_listed(families, 'or')}"
            f"{f', such as {_listed(choices)} on this server' if choices else ''}, or use Generate with a strength below 1."
        )


class NotUploadable(InvalidInput):
    """A file of this machine that is not sent to a server: of no use there, unreadable, changing, or its name is taken."""


class FileNotWritten(DrawThingsError):
    """The disk is full, or the folder may not be written to; `detail` says which."""

    def __init__(self, name: str, detail: str):
        super().__init__(
            f"The file {_shortened(name)} cannot be written ({detail}): make room in the output folder, or allow writing to it."
        )


class ProfileError(DrawThingsError):
    """A saved server, secret or certificate is missing or its file cannot be used."""


class SecretNotAllowed(ProfileError):
    """A graph names a saved secret and an address that it was neither saved with nor allowed for: nothing was sent."""

    def __init__(self, name: str, address: str):
        super().__init__(
            f"The workflow would send the saved secret {short(name)} to {address}, where it was never allowed to go: if that is your server, "
            f"allow it in the sidebar's Draw Things tab or with 'drawthings-servers allow', otherwise do not run the workflow."
        )
        self.name = name
        self.address = address


class DiscoveryUnavailable(DrawThingsError):
    """Servers on the local network cannot be looked for; `reason` says why."""

    def __init__(self, reason: str):
        super().__init__(f"Servers cannot be looked for on the network, since {reason}: type the server's address instead.")
        self.reason = reason


class ConnectionFailed(DrawThingsError):
    """No usable connection to `address` (host:port)."""

    def __init__(self, address: str, sentence: str):
        super().__init__(sentence)
        self.address = address


class ServerUnreachable(ConnectionFailed):
    """Refused, no such host, no route or no answer; `detail` says which. no_such_name: whether it is the host's name that is wrong."""

    def __init__(self, address: str, detail: str, advice: str = "", *, no_such_name: bool = False):
        if no_such_name:
            advice = "check the host name, or use the IP address"
        advice = advice or "check that the API server is switched on in Draw Things and that host and port are right"
        super().__init__(address, f"No Draw Things server answers at {address} ({detail}): {advice}.")
        self.detail = detail
        self.no_such_name = no_such_name


class TLSMismatch(ConnectionFailed):
    """One side speaks TLS and the other does not."""

    def __init__(self, address: str, sentence: str, server_speaks_tls: bool):
        super().__init__(address, sentence)
        self.server_speaks_tls = server_speaks_tls


class CertificateRejected(ConnectionFailed):
    """The server's certificate is not trusted, expired, or cannot be used."""


class CertificateChanged(ConnectionFailed):
    """The certificate is not the one pinned for this address; both SHA-256 fingerprints are given."""

    def __init__(self, address: str, pinned: str, seen: str):
        super().__init__(
            address,
            f"The certificate of {address} has changed (pinned {_short_fingerprint(pinned)}, now "
            f"{_short_fingerprint(seen)}): if you replaced it or reinstalled the server, accept it in the sidebar's Draw Things tab or with "
            f"'drawthings-servers accept {address}', otherwise do not connect.",
        )
        self.pinned = pinned
        self.seen = seen


class ConnectionLost(ConnectionFailed):
    """The connection broke during a call."""


class ServerStalled(ConnectionLost):
    """A generation, an upload, or its whole server, gave no sign of life for longer than anything takes."""


class SecretRejected(DrawThingsError):
    """The server asks for a shared secret and got none or a wrong one."""

    def __init__(self, address: str, given: bool):
        if given:
            sentence = f"The server at {address} did not accept the shared secret: save the right one for this server."
        else:
            sentence = (
                f"The server at {address} asks for a shared secret: save it in the sidebar's Draw Things tab or with "
                f"'drawthings-servers secret NAME', and name it in Load Server."
            )
        super().__init__(sentence)
        self.address = address
        self.given = given


class ServerFailed(DrawThingsError):
    """The server ended the call with an error status; `code` is its gRPC name."""

    def __init__(self, address: str, code: str, sentence: str):
        super().__init__(sentence)
        self.address = address
        self.code = code


class QuotaExceeded(ServerFailed):
    """The cloud's rate limit (PERMISSION_DENIED with throttlePolicy)."""


class AccessDenied(ServerFailed):
    """PERMISSION_DENIED or UNAUTHENTICATED for another reason."""


class MessageTooLarge(ServerFailed):
    """RESOURCE_EXHAUSTED: a message above what one of the two sides takes."""


class NotSupported(ServerFailed):
    """UNIMPLEMENTED: this server does not have that call."""


class UploadFailed(ServerFailed):
    """An upload that the server did not keep."""


class BadResult(DrawThingsError):
    """The server sent something that cannot be used."""


class NoImage(BadResult):
    """The call ended with status OK and no image."""

    def __init__(self, address: str):
        super().__init__(
            f"The server at {address} finished without an image: it ran out of memory, got NaN values, or was stopped there; "
            f"try a smaller size, other settings, or look at the server's log."
        )


class TensorError(BadResult):
    """Bytes that are not a valid tensor, or not of the expected kind."""


class TensorCutOff(TensorError):
    """A tensor whose payload ends too early. Sent to a server, a cut DEFLATE stream hangs its queue."""


class DecoderFailed(TensorError):
    """Decoding a compressed tensor took too long or too much memory, or was ended from outside."""


class CodecUnavailable(TensorError):
    """A compressed tensor arrived and fpzip is not installed."""

    def __init__(self, detail: str = "the Python package fpzip is not installed here: install fpzip, or") -> None:
        super().__init__(
            f"The server sends compressed images and {detail} switch response compression off in Draw Things (gRPCServerCLI: "
            f"--no-response-compression)."
        )


class DecoderUnavailable(CodecUnavailable):
    """A compressed tensor arrived and the process that decodes it, apart from ComfyUI, cannot be started; `reason` says why."""

    def __init__(self, reason: str):
        super().__init__(f"the helper process that decodes them cannot be started here ({reason}):")
        self.reason = reason


class NonFiniteImage(BadResult):
    """NaN or infinity in an image; `index` counts from 0."""

    def __init__(self, index: int):
        super().__init__(
            f"Image {index + 1} came back with values that are not numbers (NaN or infinity): the model overflowed; try another "
            f"sampler, less guidance, or a model in higher precision."
        )
        self.index = index


class AllServersFailed(DrawThingsError):
    """None of several servers that are used as one could do it. errors: of each, by its address, in the order of the pool."""

    def __init__(self, errors: Mapping[str, DrawThingsError]):
        each = " ".join(of_server(address, error) for address, error in errors.items())
        super().__init__(f"None of the servers ({', '.join(errors)}) could do it. {each}")
        self.errors = dict(errors)


def of_server(address: str, error: DrawThingsError) -> str:
    """The sentence of an error of one of several servers, which names the server."""
    sentence = str(error)
    return sentence if address in sentence else f"{address}: {sentence}"


class GenerationCancelled(DrawThingsError):
    """Stopped on request."""

    def __init__(self) -> None:
        super().__init__("The generation was stopped.")


def _listed(names: Sequence[str], word: str = "and") -> str:
    return f" {word} ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def short(value: object, limit: int = 80) -> str:
    """A value that somebody gave, for a sentence: what JSON has as it is written, texts in quotes, anything else by its type."""
    if value is None:
        return "null"
    if not isinstance(value, (str, numbers.Real, list, tuple, dict, Enum)):
        return type(value).__name__
    try:
        text = repr(value[:limit]) if isinstance(value, str) else " ".join(str(value).split())
    except Exception:  # JSON that the parser could just take, a number of thousands of digits, or strangers inside
        text = f"a {type(value).__name__} that cannot be shown"
    return _shortened(text, limit)


def _shortened(text: str, limit: int = 100) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _short_fingerprint(fingerprint: str) -> str:
    return fingerprint[:23] + "…" if len(fingerprint) > 24 else fingerprint
