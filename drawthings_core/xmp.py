"""XMP packets with the properties that Draw Things puts into a picture. Standard library only.

Written as Apple's ImageIO writes them into a PNG: elements in the usual prefixes and no xpacket frame, so that readers which only
look for text find what they look for too. Read in every form that RDF allows, from any writer. A packet comes from strangers: it
is never given a document type (no entities, no files), and size and depth are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn
from xml.parsers import expat
from xml.sax.saxutils import escape

from .errors import MetadataError

PNG_KEYWORD = "XML:com.adobe.xmp"
"""Keyword of the iTXt chunk that holds a packet."""
LARGEST_PACKET = 32 << 20
"""Bytes of a packet that is still read."""
DEEPEST = 100
"""Elements inside each other; real packets have ten."""

DESCRIPTION = "dc:description"
CREATOR_TOOL = "xmp:CreatorTool"
USER_COMMENT = "exif:UserComment"

_META = "adobe:ns:meta/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_NAMESPACES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
}
_LANGUAGE = "http://www.w3.org/XML/1998/namespace lang"
_DEFAULT_LANGUAGE = "x-default"
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # what XML does allow would take 25 ms to compile
_LINE_ENDS = {"\n": "&#xA;", "\r": "&#xD;"}


def in_json(text: str) -> str:
    """JSON text with every character that XML cannot hold written as JSON's own escape, so that nothing is lost.

    Half a surrogate pair is no character: it becomes U+FFFD, since strict JSON readers refuse the whole text for one.
    """
    return _NOT_XML.sub(lambda found: "\ufffd" if "\ud800" <= found[0] <= "\udfff" else f"\\u{ord(found[0]):04x}", text)


def packet(description: str, creator_tool: str, user_comment: str) -> str:
    """The packet as text. Characters that XML cannot hold become U+FFFD; see `in_json` for the comment."""
    uses = "\n".join(f'            xmlns:{prefix}="{uri}"' for prefix, uri in _NAMESPACES.items())
    return f"""<x:xmpmeta xmlns:x="{_META}" x:xmptk="XMP Core 6.0.0">
   <rdf:RDF xmlns:rdf="{_RDF}">
      <rdf:Description rdf:about=""
{uses}>
         <{DESCRIPTION}>
            {_alternatives(description)}
         </{DESCRIPTION}>
         <{CREATOR_TOOL}>{_escaped(creator_tool)}</{CREATOR_TOOL}>
         <{USER_COMMENT}>
            {_alternatives(user_comment)}
         </{USER_COMMENT}>
      </rdf:Description>
   </rdf:RDF>
</x:xmpmeta>
"""


def _alternatives(text: str) -> str:
    return f"""<rdf:Alt>
               <rdf:li xml:lang="{_DEFAULT_LANGUAGE}">{_escaped(text)}</rdf:li>
            </rdf:Alt>"""


def _escaped(text: str) -> str:
    return escape(_NOT_XML.sub("\ufffd", text), _LINE_ENDS)


def properties(packet: str | bytes) -> dict[str, str]:
    """Those of the three properties that a packet has, by their usual names. Raises MetadataError."""
    content = packet.encode("utf-8", "surrogatepass") if isinstance(packet, str) else packet
    if len(content) > LARGEST_PACKET:
        raise MetadataError(f"its XMP packet is larger than {LARGEST_PACKET >> 20} MB")
    try:
        return _Reader().read(content.strip(b"\0 \t\r\n"))  # some writers fill up with zeros
    except (expat.ExpatError, UnicodeError, ValueError) as error:
        raise MetadataError(f"its XMP packet is not XML: {error}") from error


class _Reader:
    """Takes the wanted properties out of a stream of XML events; no tree is built."""

    def __init__(self) -> None:
        self._wanted = {f"{_NAMESPACES[prefix]} {name}": f"{prefix}:{name}" for prefix, name in map(_split, _ALL)}
        self._found: dict[str, str] = {}
        self._depth = 0
        self._property = ""
        self._began = 0
        self._text: list[str] = []
        self._values: list[tuple[str, str]] = []

    def read(self, content: bytes) -> dict[str, str]:
        parser = expat.ParserCreate("utf-8", namespace_separator=" ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text_of
        parser.Parse(content, True)
        return self._found

    def _refuse(self, *_: object) -> NoReturn:
        raise MetadataError("its XMP packet declares a document type, which none needs")

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise MetadataError(f"its XMP packet is more than {DEEPEST} elements deep")
        if self._property:
            if name in _ITEMS:
                self._text = []
                self._values.append((attributes.get(_LANGUAGE, ""), ""))
            return
        for attribute, value in attributes.items():
            if attribute in self._wanted:
                self._found.setdefault(self._wanted[attribute], value)
        if name in self._wanted:
            self._property, self._began = self._wanted[name], self._depth
            self._text, self._values = [], []

    def _text_of(self, data: str) -> None:
        if self._property:
            self._text.append(data)

    def _end(self, name: str) -> None:
        if self._property and name in _ITEMS and self._values:
            self._values[-1] = (self._values[-1][0], "".join(self._text))
        elif self._property and self._depth == self._began:
            alone = "".join(self._text).strip()
            texts = dict(reversed(self._values))  # of several in one language, the first
            value = texts.get(_DEFAULT_LANGUAGE) or next((text for _, text in self._values if text), "") if texts else alone
            self._found.setdefault(self._property, value)
            self._property = ""
        self._depth -= 1


_ALL = (DESCRIPTION, CREATOR_TOOL, USER_COMMENT)
_ITEMS = (f"{_RDF} li", f"{_RDF} value")


def _split(name: str) -> tuple[str, str]:
    prefix, _, local = name.partition(":")
    return prefix, local
