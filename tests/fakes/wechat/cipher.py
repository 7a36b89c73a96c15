"""The platform's signature, cipher and XML, written once more on purpose: the program is not measured by itself."""

import base64
import hashlib
import os
import struct
from collections.abc import Mapping
from typing import Literal
from xml.etree import ElementTree

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

Corruption = Literal[
    "base64",
    "empty",
    "length_1",
    "length_15",
    "length_33",
    "pad_zero",
    "pad_33",
    "pad_mixed",
    "inner_length_huge",
    "inner_length_one_more",
    "inner_not_utf8",
    "inner_not_xml",
    "other_app",
    "other_key",
    "msg_signature",
    "no_msg_signature",
    "stripped",  # encrypt_type and msg_signature taken away
]


class Markup(str):
    """A value that is XML already: ScanCodeInfo and the like."""

    __slots__ = ()


def signature(*parts: str) -> str:
    return hashlib.sha1("".join(sorted(parts)).encode()).hexdigest()  # noqa: S324  # the platform's choice


def xml_of(fields: Mapping[str, str]) -> bytes:
    """The platform's XML: numbers and markup bare, words in CDATA."""
    nodes = []
    for name, value in fields.items():
        if isinstance(value, Markup) or (name in {"CreateTime", "MsgId", "MsgID"} and value.isdigit()):
            nodes.append(f"<{name}>{value}</{name}>")
        else:
            nodes.append(f"<{name}><![CDATA[{value.replace(']]>', ']]]]><![CDATA[>')}]]></{name}>")
    return f"<xml>{''.join(nodes)}</xml>".encode()


def children(xml: bytes) -> dict[str, str]:
    """The children of the root; AssertionError if one comes twice."""
    root = ElementTree.fromstring(xml)  # noqa: S314  # our own program's answer
    found = {child.tag: child.text or "" for child in root}
    assert root.tag == "xml" and len(found) == len(root), "a child comes twice"  # noqa: PT018
    return found


def encrypt(
    message: bytes,
    aes_key: str,
    app_id: str,
    corrupt: Corruption | None = None,
    random_bytes: bytes | None = None,
) -> str:
    """The Encrypt of one message, wrong in one way if `corrupt` says so."""
    if corrupt == "empty":
        return ""
    if corrupt == "base64":
        return "这不是 base64!"
    if corrupt is not None and corrupt.startswith("length_"):
        return base64.b64encode(os.urandom(int(corrupt.removeprefix("length_")))).decode()
    if corrupt == "other_key":
        aes_key = aes_key[::-1]
    if corrupt == "other_app":
        app_id = "wx9999999999999999"
    if corrupt == "inner_not_utf8":
        message = b"<xml><MsgType>text</MsgType><Content>\xff\xfe\xfd</Content></xml>"
    if corrupt == "inner_not_xml":
        message = b"<xml><MsgType>text</Content></xml>"
    length = len(message)
    if corrupt == "inner_length_huge":
        length = 0xFFFFFFFF
    if corrupt == "inner_length_one_more":
        length = len(message) + len(app_id) + 1
    plain = (random_bytes or os.urandom(16)) + struct.pack(">I", length) + message + app_id.encode()
    pad = 32 - len(plain) % 32
    padding = bytes([pad]) * pad
    if corrupt == "pad_zero":
        padding = padding[:-1] + b"\0"
    if corrupt == "pad_33":
        padding = padding[:-1] + b"\x21"
    if corrupt == "pad_mixed":
        if pad < 2:  # one byte cannot be mixed
            return encrypt(message + b" ", aes_key, app_id, corrupt, random_bytes)
        padding = bytes([pad ^ 1]) + padding[1:]
    key = base64.b64decode(aes_key + "=")
    encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
    return base64.b64encode(encryptor.update(plain + padding) + encryptor.finalize()).decode()


def decrypt(sealed: str, aes_key: str) -> tuple[bytes, str]:
    """The message in an Encrypt and whom it is for; ValueError if it is not laid out as it should be."""
    key = base64.b64decode(aes_key + "=")
    decryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
    plain = decryptor.update(base64.b64decode(sealed, validate=True)) + decryptor.finalize()
    pad = plain[-1]
    if len(plain) % 32 or not 1 <= pad <= 32 or plain[-pad:] != bytes([pad]) * pad:
        raise ValueError("bad padding")
    (length,) = struct.unpack(">I", plain[16:20])
    content = plain[20:-pad]
    if length > len(content):
        raise ValueError("bad length")
    return content[:length], content[length:].decode()
