"""Pictures whose headers, chunks and tags say what is not so, and files that are none."""

from __future__ import annotations

import io
import json
import random
import struct
import zlib

import numpy as np
from fuzz_case import GOOD, Case, Place
from fuzz_values import damaged_bytes

_SIZES = (0, 1, 2, 7, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 30_000, 100_000)


def _encoded(rng: random.Random, kind: str) -> bytes:
    from PIL import Image

    pixels = np.random.default_rng(rng.randrange(4)).integers(0, 255, (60, 80, 3), np.uint8)
    picture = Image.fromarray(pixels)
    mode = rng.choice(["RGB", "RGB", "L", "P", "RGBA", "1", "CMYK", "I;16", "F"])
    allowed = {
        "png": ("RGB", "L", "P", "RGBA", "1"),
        "jpeg": ("RGB", "L", "CMYK"),
        "tiff": ("RGB", "L", "P", "RGBA", "1", "CMYK", "F"),
        "webp": ("RGB", "RGBA"),
        "bmp": ("RGB", "L", "P", "1"),
        "gif": ("RGB", "L", "P"),
    }[kind]
    stream = io.BytesIO()
    picture.convert(mode if mode in allowed else "RGB").save(stream, kind)
    return stream.getvalue()


def _png(rng: random.Random, content: bytes) -> tuple[bytes, str]:
    """A PNG whose checksums fit what was changed."""
    chunks, at = [], 8
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        chunks.append([content[at + 4 : at + 8], content[at + 8 : at + 8 + length]])
        at += 12 + length
    act = rng.choice(
        ["size", "header", "swap", "again", "gone", "text", "data", "palette", "length"]
    )
    if act == "size":
        size = (rng.choice(_SIZES), rng.choice(_SIZES))
        chunks[0][1] = struct.pack(">II", *size) + chunks[0][1][8:]
        what = f"a PNG of {size[0]} x {size[1]}"
    else:
        what = f"PNG: {act}"
    pick = rng.randrange(len(chunks))
    if act == "header":
        header = bytearray(chunks[0][1])
        header[rng.randrange(8, 13)] = rng.choice((0, 1, 2, 3, 5, 7, 16, 255))
        chunks[0][1] = bytes(header)
    elif act == "swap":
        rng.shuffle(chunks)
    elif act == "again":
        chunks[pick:pick] = [chunks[pick]] * rng.choice((1, 1000))
    elif act == "gone":
        del chunks[pick]
    elif act == "text":
        big = zlib.compress(b"\x1b[31m" * 1_000_000)
        body = rng.choice([b"k\0\0" + big, b"Raw profile type exif\0\0" + big, b"x\0\0"])
        kind = rng.choice([b"zTXt", b"iCCP", b"eXIf", b"tRNS", b"acTL", b"\x1b[3m", b"gAMA"])
        chunks[1:1] = [[kind, body]]
    elif act == "data":
        raw = zlib.compress(rng.randbytes(200) * rng.choice((0, 1, 5000)))
        chunks = [one for one in chunks if one[0] != b"IDAT"]
        chunks[-1:-1] = [[b"IDAT", raw]]
    elif act == "palette":
        chunks[1:1] = [[b"PLTE", rng.randbytes(rng.choice((0, 3, 4, 768, 900)))]]
    out = content[:8]
    for name, body in chunks:
        length = rng.choice(_SIZES) if act == "length" and rng.random() < 0.5 else len(body)
        out += struct.pack(">I", length) + name + body
        out += struct.pack(">I", zlib.crc32(name + body))
    return out, what


def _jpeg(rng: random.Random, content: bytes) -> tuple[bytes, str]:
    act = rng.choice(["size", "exif", "exif", "end", "marker", "comment"])
    frame = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
    if act == "size":
        size = (rng.choice(_SIZES) & 0xFFFF, rng.choice(_SIZES) & 0xFFFF)
        return content[: frame + 5] + struct.pack(">HH", *size) + content[
            frame + 9 :
        ], f"JPEG {size}"
    if act == "exif":
        count, value = rng.choice(_SIZES[:9]), rng.choice((0, 1, 3, 6, 8, 9, 255, 65535))
        kind = rng.choice((0, 1, 2, 3, 4, 5, 12, 255))
        offset = rng.choice((0, 8, 8, 8, 9, 0xFFFFFFFF, 1000))
        entry = struct.pack("<HHII", rng.choice((0x112, 0x8769, 0x112)), kind, count, value)
        entries = rng.choice((0, 1, 1, 65535))
        tags = b"II*\0" + struct.pack("<I", offset) + struct.pack("<H", entries) + entry
        tags += struct.pack("<I", rng.choice((0, 8, 0xFFFFFFFF)))
        body = b"Exif\0\0" + tags
        marker = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
        return content[:2] + marker * rng.choice((1, 50)) + content[2:], f"EXIF {entry.hex()}"
    if act == "end":
        return content[: rng.randrange(2, len(content))], "JPEG cut"
    if act == "marker":
        at = rng.randrange(2, len(content))
        return content[:at] + bytes([0xFF, rng.randrange(0xC0, 0xFF)]) + content[at:], "JPEG marker"
    return content[:2] + b"\xff\xfe\xff\xff" + b"\x1b[2J" * 16383 + content[2:], "JPEG comment"


def _tiff(rng: random.Random, content: bytes) -> tuple[bytes, str]:
    """A TIFF one of whose tags has another type, count or value."""
    data = bytearray(content)
    (at,) = struct.unpack("<I", data[4:8])
    (count,) = struct.unpack("<H", data[at : at + 2])
    entry = at + 2 + 12 * rng.randrange(count)
    (tag,) = struct.unpack("<H", data[entry : entry + 2])
    act = rng.choice(["type", "count", "value", "value", "tag", "next"])
    if act == "next":
        data[at + 2 + 12 * count : at + 6 + 12 * count] = struct.pack(
            "<I", rng.choice((at, 1, 2**31))
        )
    elif act == "type":
        data[entry + 2 : entry + 4] = struct.pack("<H", rng.choice((0, 1, 2, 3, 5, 11, 12, 16, 99)))
    elif act == "tag":
        data[entry : entry + 2] = struct.pack("<H", rng.choice((254, 259, 317, 322, 330, 338, 700)))
    else:
        start = entry + (4 if act == "count" else 8)
        data[start : start + 4] = struct.pack("<I", rng.choice(_SIZES))
    return bytes(data), f"TIFF tag {tag}: {act}"


def _none(rng: random.Random) -> tuple[bytes, str]:
    bodies = {
        "nothing": b"",
        "text": b"\x1b[31mnot a picture\x1b[0m\n",
        "an SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='/etc/passwd'/></svg>",
        "a PPM of a billion pixels": b"P6 100000 100000 255\n" + b"x" * 100,
        "a PPM of letters": b"P3 2 2 255\nred green blue\n",
        "a PFM": b"PF\n1000000 1000000\n-1.0\n",
        "a Radiance picture": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 99999 +X 99999\n\x02\x02",
        "an OpenEXR": b"v/1\x01\x02\0\0\0channels\0chlist\0\x12\0\0\0" + b"R\0" * 9,
        "a Sun raster": b"\x59\xa6\x6a\x95" + struct.pack(">7I", 65000, 65000, 24, 0, 1, 0, 0),
        "a JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0" * 60,
        "an AVIF": b"\0\0\0\x1cftypavif\0\0\0\0" + b"\0" * 60,
        "HTML": b"<!DOCTYPE html><title>404</title>",
    }
    name = rng.choice(list(bodies))
    return bodies[name], name


def picture(rng: random.Random, place: Place) -> Case:
    """A picture that is read by one of the commands that read pictures."""
    kind = rng.choice(["png", "png", "jpeg", "jpeg", "tiff", "tiff", "webp", "bmp", "gif", "none"])
    if kind == "none":
        content, what = _none(rng)
    else:
        content = _encoded(rng, kind)
        own = {"png": _png, "jpeg": _jpeg, "tiff": _tiff}.get(kind)
        if own is not None and rng.random() < 0.7:
            content, what = own(rng, content)
        else:
            content, what = damaged_bytes(rng, content, head=60)
            what = f"{kind}: {what}"
    name = f"x.{rng.choice([kind, kind, 'png', 'jpg', 'tif', 'bmp', 'webp'])}".replace(
        ".none", ".png"
    )
    path = place.write(f"p/{name}", content)
    form = rng.randrange(8)
    if form <= 4:
        engine = place.copy(GOOD / "detections.fp32.engine")
        place.copy(GOOD / "detections.fp32.engine.json")
        more = rng.choice([(), ("--json",), ("-o", "out/p"), ("-o", "out/p", "--json")])
        shown = rng.choice([path, "in/p"])
        return Case(what, ("detect", "--engine", engine, shown, "--threads", "1", *more))
    entry = {"id": 1, "file_name": name, "width": 80, "height": 60}
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 20, 20], "area": 400}
    truth = {"images": [entry], "annotations": [box], "categories": [{"id": 1, "name": "cat"}]}
    annotations = place.write("truth.json", json.dumps(truth))
    if form == 5:
        where = ("--images", "in/p", "--fix", "out/fixed.json")
        return Case(what, ("check-data", annotations, *where))
    if form == 6:
        source = place.write("boxes.csv", f"image,x1,y1,x2,y2,label\n{name},1,2,30,40,cat\n")
        where = ("--images", "in/p", "-o", "out/c.json")
        return Case(what, ("convert", "--from", "csv", source, *where))
    place.write("p/x.txt", "0 0.5 0.5 0.2 0.2\n")
    return Case(what, ("convert", "--from", "yolo", "in/p", "-o", "out/c.json"))
