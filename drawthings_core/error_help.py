"""What the help pages say about each error: a title, what it means, what to do. The message itself names the file, setting or address."""

from __future__ import annotations

import re
from typing import NamedTuple

from . import errors as e


class Help(NamedTuple):
    """title: a heading. meaning, remedy: sentences."""

    title: str
    meaning: str
    remedy: str


HELP: dict[type[e.DrawThingsError], Help] = {
    e.InvalidInput: Help(
        "The request was not sent",
        "An input cannot be used as it is: the server would refuse it, misread it or crash on it.",
        "Change the input that the message names.",
    ),
    e.InvalidSetting: Help(
        "A setting is out of its range",
        "A value that a server would crash on, or silently replace, was not sent.",
        "Set it as the message says.",
    ),
    e.InvalidImage: Help(
        "An image, mask or hint cannot be used",
        "It is empty, of a wrong shape, or holds values that are not numbers.",
        "Look at what is connected there, for instance with Preview Image.",
    ),
    e.FileNotOnServer: Help(
        "A file is not on the server",
        "The server would silently take another model, or leave the LoRA, control or upscaler out.",
        "Choose one of the names that the message offers, or download the file in Draw Things. Press R to list the server's files anew.",
    ),
    e.ModelBrowserOff: Help(
        "No model is chosen and the server lists none",
        "A server without model browsing does not say which models it has.",
        "Type the model's file name into `model_file`, or switch model browsing on in Draw Things (gRPCServerCLI: `--model-browser`).",
    ),
    e.FileNotUsable: Help(
        "A file is of another kind",
        "The file is on the server, but is not what it is used as, or the server does not know what it is.",
        "Choose a file of the right kind, or import it in Draw Things, which then knows it.",
    ),
    e.MetadataError: Help(
        "The settings in a picture are damaged",
        "The picture holds settings of Draw Things that cannot be read.",
        "Export it from Draw Things again, or load it with Load Image, which takes the picture alone.",
    ),
    e.NoMetadata: Help(
        "The picture holds no settings",
        "Other programs often drop them when they save or send a picture.",
        "Choose the file that Draw Things or Save Image (Draw Things) wrote, or use Load Image.",
    ),
    e.FamilyMismatch: Help(
        "A file is for another model family",
        "A LoRA, control, refiner or textual inversion works only with models of its own family; a server skips or misreads others.",
        "Choose one made for the model's family, or another model.",
    ),
    e.NotAnEditingModel: Help(
        "The model follows no instructions",
        "Edit Image needs a model that changes pictures as a text says.",
        "Choose an instruction model, or use Generate with an image and a strength below 1.",
    ),
    e.NotUploadable: Help(
        "A file cannot be uploaded",
        "It is of no use to a server, cannot be read, changes meanwhile, or its name is taken by other contents.",
        "Choose another file, or another answer for `existing`.",
    ),
    e.FileNotWritten: Help(
        "A result cannot be saved",
        "The disk is full, or ComfyUI may not write to the folder.",
        "Make room in the output folder, or allow writing to it, and run again: what is kept in ComfyUI is not generated anew.",
    ),
    e.ProfileError: Help(
        "Saved servers or secrets cannot be used",
        "A server, secret or certificate of that name is not saved on the machine that runs ComfyUI, or the file that keeps them cannot be read.",
        "Save it there, in the sidebar's *Draw Things* tab or with `drawthings-servers`, or choose another name in Load Server.",
    ),
    e.SecretNotAllowed: Help(
        "A secret would go to another server",
        "The workflow names a saved secret together with an address that it was neither saved with nor allowed for. Nothing was sent.",
        "If that is your server, allow it in the sidebar's *Draw Things* tab or with `drawthings-servers allow NAME HOST:PORT`. Otherwise do not "
        "run the workflow.",
    ),
    e.ConnectionFailed: Help(
        "No usable connection",
        "Something answers, but no call can be made.",
        "See whether host and port lead to Draw Things' API server with the protocol gRPC.",
    ),
    e.ServerUnreachable: Help(
        "No server answers",
        "Nothing listens at that address, it cannot be reached, or what listens does not speak Draw Things' gRPC.",
        "Switch the API server on in Draw Things (protocol gRPC), or start gRPCServerCLI; check host and port, and that no firewall is between. "
        "Where a name is not known, write the IP address.",
    ),
    e.TLSMismatch: Help(
        "TLS on one side only",
        "One of ComfyUI and the server speaks TLS and the other does not.",
        "Choose *auto* in Load Server, or switch TLS in Draw Things to what is chosen there.",
    ),
    e.CertificateRejected: Help(
        "The server's certificate is not trusted",
        "It is expired, unreadable, or not signed by what the chosen TLS mode trusts.",
        "Choose *auto*, which remembers the server's own certificate, or renew the certificate on the server.",
    ),
    e.CertificateChanged: Help(
        "The server's certificate has changed",
        "Another certificate was remembered for this address: the server was installed anew, or something else answers in its place.",
        "If you know why, accept it in the sidebar's *Draw Things* tab or with `drawthings-servers accept HOST:PORT`. Otherwise do not connect.",
    ),
    e.ConnectionLost: Help(
        "The connection was lost",
        "The server was there and went away during a call: it crashed, was stopped, or the network broke.",
        "See on the server whether it still runs, then run again.",
    ),
    e.ServerStalled: Help(
        "The server gives no sign of life",
        "A generation, an upload, or the whole server, has not answered for longer than anything takes.",
        "See on the server whether it hangs; start it anew if it does, then run again.",
    ),
    e.SecretRejected: Help(
        "The shared secret is missing or wrong",
        "The server asks for a shared secret.",
        "Save the right one in the sidebar's *Draw Things* tab, or with `drawthings-servers secret NAME` on the machine that runs ComfyUI, and name it "
        "in Load Server; never the secret itself.",
    ),
    e.ServerFailed: Help(
        "The server failed",
        "It ended the call with an error of its own, which the message repeats.",
        "Look at the server's log; try again with a smaller size or other settings.",
    ),
    e.QuotaExceeded: Help(
        "The cloud's limit is reached",
        "Draw Things' cloud takes no more requests for now.",
        "Wait a while, or ask for smaller pictures and fewer steps.",
    ),
    e.AccessDenied: Help(
        "The server refuses access",
        "It does not allow this call to us.",
        "See which clients the server or its proxy lets in.",
    ),
    e.MessageTooLarge: Help(
        "Too large to send",
        "The pictures of one request, or of one answer, are more than one of the two sides takes.",
        "Use smaller or fewer pictures, references or frames.",
    ),
    e.NotSupported: Help(
        "The server does not have that call",
        "It is older than this package, or a proxy that does not pass the call on.",
        "Update Draw Things or gRPCServerCLI, or connect to the server itself.",
    ),
    e.UploadFailed: Help(
        "The server did not keep the upload",
        "Its disk is full, its models folder cannot be written to, or the file was damaged on its way.",
        "Make room on the server, then upload again.",
    ),
    e.BadResult: Help(
        "The result cannot be used",
        "The server's answer does not fit what was asked for.",
        "Run again; if it stays so, the server may be of another version: update Draw Things and this package.",
    ),
    e.NoImage: Help(
        "The server finished without an image",
        "It ran out of memory, the model gave values that are not numbers, or it was stopped there. The server does not say which.",
        "Try a smaller size, fewer steps, other settings, or look at the server's log.",
    ),
    e.TensorError: Help(
        "An image arrived damaged",
        "The transfer broke, or what came is no picture.",
        "Run again.",
    ),
    e.TensorCutOff: Help(
        "An image arrived incomplete",
        "Its data end too early.",
        "Run again.",
    ),
    e.DecoderFailed: Help(
        "An image cannot be decoded",
        "Decoding it took too long or too much memory on the machine that runs ComfyUI, or it is damaged.",
        "Run again; close other programs, or ask for smaller or fewer pictures.",
    ),
    e.CodecUnavailable: Help(
        "fpzip is not installed",
        "The server sends compressed pictures, and the Python package that reads them is missing.",
        "Install fpzip into ComfyUI's Python, or switch response compression off in Draw Things (gRPCServerCLI: `--no-response-compression`).",
    ),
    e.DecoderUnavailable: Help(
        "The decoder cannot be started",
        "Compressed pictures are decoded in a process of their own, so that a damaged one cannot end ComfyUI; it does not start here.",
        "Allow ComfyUI to start `python`, or switch response compression off on the server.",
    ),
    e.NonFiniteImage: Help(
        "An image holds values that are not numbers",
        "The model overflowed.",
        "Try another sampler, less guidance, or a model in higher precision.",
    ),
    e.AllServersFailed: Help(
        "All servers of the pool failed",
        "Server Pool gave the work to each of its servers, and none could do it; the message says why for each.",
        "Do for one of them what its part of the message says, then run again.",
    ),
}
"""Every error that a node can show, in the order of the tree. Cancelling is no error and has no row."""

INPUT = (e.InvalidInput, e.InvalidSetting)
"""What any node may raise."""

CONNECTION = (
    *(e.ProfileError, e.ConnectionFailed, e.ServerUnreachable, e.TLSMismatch, e.CertificateRejected, e.CertificateChanged),
    *(e.ConnectionLost, e.SecretRejected, e.ServerFailed, e.AccessDenied, e.NotSupported, e.BadResult),
)
"""What a node may that asks a server."""

GENERATION = (
    *(e.InvalidImage, e.FileNotOnServer, e.ModelBrowserOff, e.FileNotUsable, e.FamilyMismatch, e.ServerStalled, e.QuotaExceeded),
    *(
        e.MessageTooLarge,
        e.NoImage,
        e.TensorError,
        e.TensorCutOff,
        e.DecoderFailed,
        e.CodecUnavailable,
        e.DecoderUnavailable,
        e.NonFiniteImage,
    ),
)
"""And one that generates besides."""


def anchor(error: str) -> str:
    """The anchor of an error's section, from the name of its class: SecretRejected -> secret-rejected. web/rules/errors.js has the same."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", error).lower()
