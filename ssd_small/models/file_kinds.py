"""Recognising files that are passed as checkpoints but are not, mostly by their first bytes."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

#: start of a file in PyTorch's older format, which is not a zip: a pickled magic number
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
PICKLE = b"\x80"
ZIP = b"PK\x03\x04"
#: number of bytes by which the kinds below are recognised
HEAD = 512

_RESAVE = "save its state dict where it was made: torch.save(net.state_dict(), path)"
#: first bytes, what such a file is, and what to do about it
_BEGINS: Sequence[tuple[bytes, str, str]] = (
    (
        b"version https://git-lfs",
        "it is a Git LFS pointer, a text in the place of the file",
        "fetch the file itself: git lfs pull",
    ),
    (b"\x1f\x8b", "it is a gzip archive", "unpack it first"),
    (b"BZh", "it is a bzip2 archive", "unpack it first"),
    (b"\xfd7zXZ", "it is an xz archive", "unpack it first"),
    (b"(\xb5/\xfd", "it is a zstd archive", "unpack it first"),
    (b"7z\xbc\xaf", "it is a 7-Zip archive", "unpack it first"),
    (b"Rar!", "it is a RAR archive", "unpack it first"),
    (b"\x89HDF", "it is an HDF5 file, as Keras writes", "expected a checkpoint of PyTorch"),
    (b"\x93NUMPY", "it is a NumPy array", "expected a checkpoint of PyTorch"),
    (b"\x89PNG", "it is a picture", "expected a checkpoint of PyTorch"),
    (b"\xff\xd8\xff", "it is a picture", "expected a checkpoint of PyTorch"),
    (b"%PDF", "it is a PDF", "expected a checkpoint of PyTorch"),
    (b"GGUF", "it is a GGUF file", "expected a checkpoint of PyTorch"),
)
#: tags that can follow the format version in an ONNX file: producer, opset, domain, graph ...
_ONNX_NEXT = b"\x12\x1a\x22\x28\x32\x3a\x42"


def fault_from_head(head: bytes) -> tuple[str, str] | None:
    """Say what a non-checkpoint file is and what to do about it; None if it may be a checkpoint.

    Args:
        head: the file's first :data:`HEAD` bytes, or all of it if it is shorter.
    """
    if not head:
        return "it is empty (0 bytes)", "fetch or write it again"
    for start, reason, advice in _BEGINS:
        if head.startswith(start):
            return reason, advice
    if head[1:4] == b"trt":  # vtrt in TensorRT-RTX 1.7; other flavours have another first letter
        return "it is a TensorRT engine, not a checkpoint", "pass it as --engine"
    if head[257:262] == b"ustar":
        return (
            "it is a tar archive, PyTorch's form until 2017 or one that holds other files",
            f"unpack it, or {_RESAVE}",
        )
    if head[4:8] == b"TFL3":
        return "it is a TensorFlow Lite model", "expected a checkpoint of PyTorch"
    if head[0] == 8 and 0 < head[1:2][0] < 128 and head[2:3] in {bytes([b]) for b in _ONNX_NEXT}:
        return (
            "it is an ONNX model, not a checkpoint",
            "pass it as --engine, or to 'ssd-small build-engine'",
        )
    return _text_fault(head)


def _text_fault(head: bytes) -> tuple[str, str] | None:
    try:
        # the last character may be incomplete
        text = head.decode("utf-8-sig", "strict" if len(head) < HEAD else "ignore").lstrip()
    except UnicodeDecodeError:
        return None
    if not all(letter.isprintable() or letter.isspace() for letter in text):
        return None
    start = text[:200].lower()
    if start.startswith(("<!doctype", "<html", "<?xml", "<head")):
        return (
            "it is a web page, such as a login or an error in the place of a download",
            "download the file itself",
        )
    if '"weight_map"' in text or (start.startswith("{") and '"metadata"' in start):
        return (
            "it is the index of a checkpoint in several files",
            "join them into one file, or save the state dict in one",
        )
    return "it is a text file", "expected a state dict saved with torch.save"


def is_safetensors(head: bytes) -> bool:
    """Whether a file begins like a safetensors file: 8 bytes of length, then JSON."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 28


def fault_from_zip(path: Path) -> tuple[str, str] | None:
    """Say what is wrong with a zip file as a checkpoint of ``torch.save``; None if it is one.

    Raises:
        OSError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if _is_damaged(archive):
                return "it is damaged: bytes have changed since it was written", "fetch it again"
    except (zipfile.BadZipFile, NotImplementedError, ValueError, UnicodeDecodeError):
        return "it is truncated or damaged", "fetch or write it again"
    ends = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in ends and any("/code/" in name for name in names):
        return "it is a TorchScript program (torch.jit.save), which is code", _RESAVE
    if "archive_format" in ends or "serialized_exported_program.json" in ends:
        return "it is a program of torch.export, which is code", _RESAVE
    if "extern_modules" in ends:
        return "it is a torch.package, which is code", _RESAVE
    if "data.pkl" in ends:
        return None
    if names and all(name.endswith(".npy") for name in names):
        return "it holds NumPy arrays (.npz)", _RESAVE
    inside = next((n for n in names if n.endswith((".pth", ".pt", ".ckpt", ".safetensors"))), None)
    if inside is not None:
        return f"it is a zip file that holds {inside[:80]!r}", "unpack it and name that file"
    return "it is a zip file without a checkpoint in it", "expected a file written by torch.save"


def _is_damaged(archive: zipfile.ZipFile) -> bool:
    """Whether a part of a checkpoint fails its checksum, which ``torch.load`` does not verify."""
    parts = archive.infolist()
    pickled = [part for part in parts if part.filename.endswith("/data.pkl")]
    # files written after torch.serialization.set_crc32_options(False) have no valid checksums
    if not pickled or not _is_sound(archive, pickled[0]):
        return False
    return not all(_is_sound(archive, part) for part in parts)


def _is_sound(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> bool:
    try:
        with archive.open(part) as stream:
            while stream.read(1 << 20):
                pass
    except (zipfile.BadZipFile, EOFError):
        return False
    except (NotImplementedError, RuntimeError, zlib.error):
        return True  # cannot be judged here
    return True


def fault_from_folder(path: Path) -> tuple[str, str]:
    """Say what a folder passed as a checkpoint holds, and what to do about it."""
    names = sorted(one.name for one in path.iterdir())
    if "data.pkl" in names:
        return (
            "it is a folder, an unpacked checkpoint",
            "take the file that it was unpacked from",
        )
    if ".metadata" in names and any(name.endswith(".distcp") for name in names):
        return (
            "it is a folder of torch.distributed.checkpoint",
            "join it: python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE",
        )
    if any(name.endswith(".index.json") for name in names):
        return "it is a folder of a checkpoint in several files", "join them into one file"
    files = [n for n in names if n.endswith((".pth", ".pt", ".ckpt", ".safetensors", ".bin"))]
    if files:
        return "it is a folder", f"name the file in it: {', '.join(files[:5])}"
    return "it is a folder", "expected a file written by torch.save"
