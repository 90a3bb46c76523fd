"""Damaged weights: checkpoints of torch and safetensors, and the folders of training runs."""

from __future__ import annotations

import io
import json
import pickle
import pickletools
import random
import struct
import warnings
import zipfile
from typing import Any

import torch
from fuzz_case import GOOD, Case, Place
from fuzz_values import ODD_TEXTS, ODD_VALUES, chosen_site, damaged_bytes, damaged_json


def _loaded(name: str) -> Any:
    return torch.load(GOOD / name, weights_only=False)


def odd_tensor(rng: random.Random, like: torch.Tensor) -> tuple[Any, str]:
    """A tensor, or what is none, in place of a good one."""
    shape = tuple(like.shape)
    dense = torch.zeros(shape)

    def narrow(name: str) -> torch.Tensor:
        return dense.to(getattr(torch, name))

    def nested() -> torch.Tensor:
        return torch.nested.nested_tensor([torch.zeros(2, 3), torch.zeros(4, 3)])

    forms: dict[str, Any] = {
        **{
            name: lambda name=name: narrow(name)
            for name in (
                *("float64", "float16", "bfloat16", "complex64", "complex32", "int8", "uint8"),
                *("int64", "bool", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "uint16"),
                *("uint64", "float8_e8m0fnu"),
            )
        },
        "packed in four bits": lambda: torch.zeros(4, dtype=torch.uint8).view(
            torch.float4_e2m1fn_x2
        ),
        "quantised": lambda: torch.quantize_per_tensor(dense, 0.1, 0, torch.quint8),
        "quantised by channel": lambda: torch.quantize_per_channel(
            torch.zeros(2, 2), torch.ones(2), torch.zeros(2), 0, torch.qint8
        ),
        "nested": nested,
        "sparse": dense.to_sparse,
        "sparse in rows": lambda: torch.zeros(4, 4).to_sparse_csr(),
        "meta": lambda: torch.zeros(shape, device="meta"),
        "stride 0": lambda: torch.zeros(1).expand(shape or (1,)),
        "stride 0, huge": lambda: torch.zeros(1).expand(100_000, 512, 3, 3),
        "a view": lambda: torch.zeros(1 + dense.numel())[1:].view(shape),
        "turned": lambda: torch.zeros(shape[::-1]).permute(*range(len(shape))[::-1]),
        "NaN": lambda: torch.full(shape, float("nan")),
        "infinite": lambda: torch.full(shape, float("inf")),
        "huge": lambda: torch.full(shape, 3e38),
        "negative": lambda: torch.full(shape, -1.0),
        "empty": lambda: torch.zeros(0),
        "a scalar": lambda: torch.tensor(1.0),
        "of no rows": lambda: torch.zeros(0, *shape[1:]),
        "of 30 dimensions": lambda: torch.zeros([1] * 30),
        "with a gradient": lambda: dense.requires_grad_(),
        "a parameter": lambda: torch.nn.Parameter(dense),
        "conjugated": lambda: torch.zeros(shape, dtype=torch.complex64).conj(),
        "negated": lambda: torch.zeros(2, dtype=torch.complex64).conj().imag,
        "a storage": dense.untyped_storage,
        "a size": lambda: torch.Size(shape),
        "a dtype": lambda: torch.float32,
        "a device": lambda: torch.device("cuda", 7),
    }
    name = rng.choice([*forms, "a value"])
    if name == "a value":
        return rng.choice(ODD_VALUES), "a value"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return forms[name](), name
        except (RuntimeError, AttributeError):  # not of this shape, or not in this torch
            return None, "None"


def _damaged_content(rng: random.Random, content: Any) -> str:
    """Change a checkpoint in place, and say what."""
    words = []
    for _ in range(rng.choice((1, 1, 2))):
        path = chosen_site(rng, content)
        holder = content
        for key in path[:-1]:
            holder = holder[key]
        name, old = path[-1], holder[path[-1]]
        if isinstance(old, torch.Tensor):
            holder[name], what = odd_tensor(rng, old)
        elif rng.random() < 0.2 and isinstance(holder, dict):
            del holder[name]
            what = "gone"
        elif rng.random() < 0.15 and isinstance(holder, dict):
            holder[rng.choice([*ODD_TEXTS, 5, None, (1,), b"x", 1.5])] = holder.pop(name)
            what = "under another key"
        else:
            odd: list[Any] = [*ODD_VALUES, b"x" * 1000, (1, 2), {1, 2}, 1 + 2j, torch.zeros(2), ...]
            holder[name] = rng.choice(odd)
            what = (
                f"{holder[name]!r:.60}" if not isinstance(holder[name], torch.Tensor) else "tensor"
            )
        words.append(f"{'.'.join(map(str, path))} is {what}")
    return "; ".join(words)


def _saved(rng: random.Random, content: Any) -> bytes:
    stream = io.BytesIO()
    legacy = rng.random() < 0.15
    try:
        torch.save(content, stream, _use_new_zipfile_serialization=not legacy)
    except (RuntimeError, NotImplementedError, AttributeError, TypeError, pickle.PicklingError):
        stream = io.BytesIO()
        torch.save({"state_dict": None}, stream)
    return stream.getvalue()


def _damaged_zip(rng: random.Random, content: bytes) -> tuple[bytes, str]:
    """The members of a checkpoint changed: gone, twice, deflated, cut, or another pickle."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    names = list(members)
    pickled = next(name for name in names if name.endswith("data.pkl"))
    pick = rng.choice(names)
    act = rng.choice(
        ["gone", "cut", "deflated", "pickle", "pickle", "bomb", "name", "opcode", "opcode"]
    )
    deflated = act in ("deflated", "bomb")
    if act == "gone":
        del members[pick]
    elif act == "cut":
        members[pick] = members[pick][: len(members[pick]) // 2]
    elif act == "bomb":
        members[pick] = bytes(rng.choice((1 << 24, 1 << 28)))
    elif act == "name":
        members[rng.choice(["../x", "/etc/x", "\x1b[31m", "a" * 300, "archive/data/ "])] = b"x"
    elif act == "pickle":
        members[pickled] = rng.choice(
            [
                pickle.dumps(rng.choice(ODD_VALUES)),
                b"cos\nsystem\n(S'true'\ntR.",
                b"\x80\x02]q\x00h\x00a.",
                b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xff.",
                b"\x80\x02X\xff\xff\xff\x7fabc.",
                b"(" * 10_000 + b".",
                b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".",
                b"",
                b"I" + b"9" * 10_000 + b"\n.",
                b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
            ]
        )
    elif act == "opcode":
        body = bytearray(members[pickled])
        places = [at for _, _, at in pickletools.genops(bytes(body)) if at is not None]
        for _ in range(rng.choice((1, 3))):
            body[rng.choice(places)] = rng.choice(
                b"(.0123FGIJKLMNRST]XUabcdehijlopqrstu}\x81\x85\x88Q"
            )
        members[pickled] = bytes(body)
    stream = io.BytesIO()
    how = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
    with zipfile.ZipFile(stream, "w", how) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return stream.getvalue(), f"zip: {act} ({pick})"


def _read_by(rng: random.Random, place: Place, path: str, *, named: bool) -> tuple[str, ...]:
    """A command line that reads weights."""
    picture = place.copy(GOOD / "picture.png")
    model = () if named and rng.random() < 0.8 else ("--model", "mobilenet_v1")
    form = rng.randrange(12)
    if form <= 4:
        return ("inspect", path, *rng.choice([(), ("--json",)]))
    if form == 5:
        return ("export", *model, "--weights", path, "--heads", "-o", "out/x.onnx")
    if form == 6:
        return ("doctor", path, *rng.choice([(), ("--json",)]))
    more = rng.choice([(), ("--json",), ("--num-classes", "3"), ("--width", "0.03")])
    return ("detect", *model, "--weights", path, picture, "--threads", "1", *more)


def checkpoint(rng: random.Random, place: Place) -> Case:
    """A checkpoint of torch."""
    name = rng.choice(["record.pth", "record.pth", "plain.pth"])
    form = rng.randrange(10)
    if form <= 6:
        content = _loaded(name)
        if form == 0 and "ssd_small" in content:
            record = content["ssd_small"]
            what = "record: " + _damaged_content(rng, record)
        else:
            what = _damaged_content(rng, content)
        data = _saved(rng, content)
    elif form <= 8:
        data, what = _damaged_zip(rng, (GOOD / name).read_bytes())
    else:
        data, what = damaged_bytes(rng, (GOOD / name).read_bytes(), head=400)
    path = place.write(rng.choice(["w.pth", "w.pth", "w.pt", "w.bin", "w.tar"]), data)
    return Case(what, _read_by(rng, place, path, named=name == "record.pth"))


def safetensors(rng: random.Random, place: Place) -> Case:
    """A safetensors file whose header says what is not so."""
    from safetensors.torch import save

    content = _loaded("plain.pth")
    state = {k: v.contiguous() for k, v in content.items() if isinstance(v, torch.Tensor)}
    data = save(state)
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    act = rng.randrange(4)
    if act == 0:
        data, what = damaged_bytes(rng, data, head=8 + 200)
    elif act == 1:
        length = rng.choice((0, 1, 2**31, 2**63, 2**64 - 1, length + 1, length - 1))
        data, what = struct.pack("<Q", length) + data[8:], f"a header of {length} bytes"
    else:
        header["__metadata__"] = {"format": "pt", "ssd_small": "{}"}
        text, what = damaged_json(rng, header)
        data = struct.pack("<Q", len(text)) + text + data[8 + length :]
    path = place.write("w.safetensors", data)
    return Case(what, _read_by(rng, place, path, named=False))


def run(rng: random.Random, place: Place) -> Case:
    """The folder of a training run: resume.pth, run.json, and what else lies there."""
    good = GOOD / "run"
    for file in good.glob("*.png"):
        place.copy(file, f"d/{file.name}")
    truth = place.copy(good / "truth.json", "d/truth.json")
    place.copy(good / "resume.pth", "resume.pth", into="out/run")
    target = place.folder / "out" / "run"
    said = (good / "run.json").read_text().replace("/nowhere/truth.json", truth)
    record = json.loads(said.replace("/nowhere", "in/d"))
    (target / "run.json").write_text(json.dumps(record))
    form = rng.randrange(5)
    if form <= 1:
        text, what = damaged_json(rng, record)
        (target / "run.json").write_bytes(text)
    elif form <= 3:
        content = _loaded("run/resume.pth")
        part = rng.choice(["position", "about", "optimizer", None, None])
        inside = content[part] if part else content
        what = f"{part or 'resume'}: {_damaged_content(rng, inside)}"
        (target / "resume.pth").write_bytes(_saved(rng, content))
    else:
        data, what = damaged_bytes(rng, (good / "resume.pth").read_bytes(), head=400)
        (target / "resume.pth").write_bytes(data)
    if rng.random() < 0.15:
        (target / "history.csv").write_bytes(damaged_bytes(rng, b"iteration,loss\n1,2.5\n")[0])
    more = () if rng.random() < 0.3 else ("--images", "in/d", "--annotations", truth)
    if rng.random() < 0.15:
        return Case(what, ("inspect", "out/run/resume.pth"))
    return Case(what, ("train", "--resume", "--output", "out/run", "--workers", "0", *more))
