"""Checkpoints of a few bytes that declare, or unfold to, far more."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from memory_peak import peak_of  # noqa: E402

from ssd_small.errors import BadFile  # noqa: E402
from ssd_small.models.checkpoint import model_from_checkpoint, read_state_dict  # noqa: E402
from ssd_small.models.network import create_model  # noqa: E402

#: bytes that a refusal may take: a scan of the pickle, far less than what is declared
SMALL = 256 << 20
MODEL = "mobilenet_v1"
STATE = create_model(MODEL, num_classes=3, width=0.1).state_dict()


def _saved(content: object, **options: bool) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


GOOD = _saved(STATE)


def _archive(pickled: bytes | None = None, *, compression: int = zipfile.ZIP_STORED) -> bytes:
    """The good checkpoint, written anew, with another pickle."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(GOOD)) as good,
        zipfile.ZipFile(stream, "w", compression) as new,
    ):
        for name in good.namelist():
            is_pickle = name.endswith("data.pkl")
            new.writestr(name, pickled if is_pickle and pickled is not None else good.read(name))
    return stream.getvalue()


def _with_member(unfolded: int) -> bytes:
    stream = io.BytesIO(_archive())
    with (
        zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("archive/data/9999", "w", force_zip64=True) as member,
    ):
        for _ in range(unfolded >> 20):
            member.write(bytes(1 << 20))
    return stream.getvalue()


def _with_many_members() -> bytes:
    stream = io.BytesIO(_archive())
    with zipfile.ZipFile(stream, "a") as archive:
        for number in range(60_000):
            archive.writestr(f"archive/{number:030d}", b"")
    return stream.getvalue()


def _with_large_declaration() -> bytes:
    """A member whose directory entry declares 2 GiB, stored in no bytes."""
    content = bytearray(GOOD)
    at = content.rindex(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", (1 << 31) - 1)
    return bytes(content)


def _with_head(*shape: int) -> bytes:
    return _saved({**STATE, "conf.0.weight": torch.zeros(1, 1, 1, 1).expand(*shape)})


def _nested_tuples() -> bytes:
    """A dictionary whose key is a pair of pairs of pairs: its hash takes 2^60 steps."""
    pairs = (b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(1, 60))
    return b"\x80\x02)q\x01" + b"".join(pairs) + b"}h\x3cK\x01s."


def _shared_dictionaries() -> bytes:
    inner: dict[str, object] = {f"a.{i}": i for i in range(3000)}
    for _ in range(2):
        inner = dict.fromkeys((f"k{i}" for i in range(3000)), inner)
    return _saved(inner)


def _legacy_declaring() -> bytes:
    content = _saved({"base.0.weight": torch.arange(77.0)}, _use_new_zipfile_serialization=False)
    at = content.index(b"K\x4d")
    return content[:at] + b"J" + struct.pack("<i", 1 << 30) + content[at + 2 :]


def _safetensors(header: bytes, declared: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if declared is None else declared) + header


MANY_TENSORS = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
BOMBS = {
    "a member that unfolds to 512 MiB": (lambda: _with_member(1 << 29), "members declare"),
    "60 000 members": (_with_many_members, "list of members has"),
    "a member that declares 2 GiB": (_with_large_declaration, "declares 2147483647 bytes"),
    "100 000 classes by strides of 0": (
        lambda: _with_head(600_000, 48, 3, 3),
        "declares [600000, 48, 3, 3] numbers and 4 bytes",
    ),
    "twins of 2^40 numbers": (
        lambda: _saved({name: {"base.0": torch.zeros(1).expand(1 << 40)} for name in "ab"}),
        "declares [1099511627776] numbers",
    ),
    "pairs of pairs": (lambda: _archive(_nested_tuples()), "unfolds to more than"),
    "a long pickle": (lambda: _archive(b"\x80\x02" + b"K\x01" * (9 << 20) + b"}."), "pickle in it"),
    "deep lists": (
        lambda: _archive(b"\x80\x02" + b"]" * 600_000 + b"a" * 599_999 + b"."),
        "more than 1000000 operations",
    ),
    "a class of 400 000 letters": (
        lambda: _archive(b"\x80\x02c" + b"a." * 200_000 + b"b\nx\n."),
        "names a class by more than",
    ),
    "bytearray(2^31 - 1)": (
        lambda: _archive(b"\x80\x02cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R."),
        "makes a bytearray",
    ),
    "FloatTensor(2^30, 2^30)": (
        lambda: _archive(b"\x80\x02ctorch\nFloatTensor\nJ\0\0\0\x40J\0\0\0\x40\x86R."),
        "makes a FloatTensor",
    ),
    "dictionaries in dictionaries": (_shared_dictionaries, "no dictionary of tensors"),
    "legacy storage of 4 GiB": (_legacy_declaring, "tensors declare 4294967296 bytes"),
    "safetensors of 2^60": (lambda: _safetensors(b"{}", 1 << 60), "no checkpoint"),
    "safetensors with a large header": (
        lambda: _safetensors(b"{" + b" " * (20 << 20) + b"}"),
        "header declares",
    ),
    "safetensors that declares too much": (
        lambda: _safetensors(
            json.dumps({"a": {**MANY_TENSORS, "data_offsets": [0, 1 << 40]}}).encode()
        ),
        "damaged safetensors",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", BOMBS)
def test_a_small_file_that_declares_much_is_refused(tmp_path, kind):
    if kind.startswith("safetensors"):
        pytest.importorskip("safetensors")
    make, words = BOMBS[kind]
    path = tmp_path / "c.pth"
    path.write_bytes(make())

    def refused() -> None:
        with pytest.raises(BadFile) as caught:
            read_state_dict(path)
        assert words in str(caught.value)

    assert peak_of(refused, seconds=30) < SMALL


def test_an_archive_that_was_packed_anew_is_still_read(tmp_path):
    path = tmp_path / "c.pth"
    path.write_bytes(_archive(compression=zipfile.ZIP_DEFLATED))
    assert model_from_checkpoint(MODEL, path).num_classes == 3


@pytest.mark.parametrize("new", [True, False])
def test_weights_that_share_a_storage_are_still_read(tmp_path, new):
    shared = torch.zeros(4 << 20)
    path = tmp_path / "c.pth"
    content = {f"base.{i}.weight": shared[i:] for i in range(8)}
    path.write_bytes(_saved(content, _use_new_zipfile_serialization=new))
    assert len(read_state_dict(path)) == 8


def test_more_classes_than_the_option_has_are_not_read_off_weights(tmp_path):
    many = 6 * 1025
    content = {key: value for key, value in STATE.items() if not key.startswith("conf.0")}
    channels = STATE["conf.0.weight"].shape[1:]
    content["conf.0.weight"] = torch.zeros(many, *channels)
    content["conf.0.bias"] = torch.zeros(many)
    path = tmp_path / "c.pth"
    torch.save(content, path)
    with pytest.raises(BadFile, match="expected 1024 classes at most"):
        model_from_checkpoint(MODEL, path)


def test_a_hole_of_a_terabyte_is_no_checkpoint(tmp_path: Path):
    path = tmp_path / "c.pth"
    path.write_bytes(GOOD)
    with path.open("ab") as file:
        file.truncate(1 << 40)

    def refused() -> None:
        with pytest.raises(BadFile):
            read_state_dict(path)

    assert peak_of(refused) < SMALL
