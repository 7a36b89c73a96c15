"""Small pictures that are whole, as far as a station looks at them; what stands in them tells them apart."""


def png(inside: bytes = b"picture") -> bytes:
    header = b"\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0\x90wS\xde"
    return b"\x89PNG\r\n\x1a\n" + header + inside + b"\0\0\0\0IEND\xaeB`\x82"


def jpeg(inside: bytes = b"picture") -> bytes:
    segment, frame = b"\xff\xe0\0\4JF", b"\xff\xc0\0\x0b\x08\0\1\0\1\1\1\x11\0"
    return b"\xff\xd8" + segment + frame + inside + b"\xff\xd9"


def gif(inside: bytes = b"picture") -> bytes:
    return b"GIF89a\1\0\1\0\0\0\0" + inside + b";"


def webp(inside: bytes = b"picture") -> bytes:
    return b"RIFF" + (4 + len(inside)).to_bytes(4, "little") + b"WEBP" + inside
