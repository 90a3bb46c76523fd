"""Damaged data sets: COCO annotations, results, Pascal VOC, YOLO, CSV, class names, year sets."""

from __future__ import annotations

import json
import random
from typing import Any

from fuzz_case import GOOD, Case, Place
from fuzz_values import ODD_TEXTS, damaged_bytes, damaged_json, damaged_text

_RUN = GOOD / "run"
_SIZE = {"width": 160, "height": 120}

VOC = """<annotation>
 <folder>VOC2007</folder>
 <filename>0.png</filename>
 <size><width>160</width><height>120</height><depth>3</depth></size>
 <segmented>0</segmented>
 <object>
  <name>cat</name><pose>Left</pose><truncated>0</truncated><difficult>0</difficult>
  <bndbox><xmin>10</xmin><ymin>20</ymin><xmax>60</xmax><ymax>80</ymax></bndbox>
 </object>
 <object>
  <name>dog</name><difficult>1</difficult>
  <bndbox><xmin>1.5</xmin><ymin>1</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>
 </object>
</annotation>
"""
ENTITIES = """<?xml version="1.0"?>
<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c SYSTEM "/etc/passwd">]>
"""
_YAML = "path: .\ntrain: images\nval: images\nnc: 2\nnames:\n  0: cat\n  1: dog\n"
_CSV = "image,x1,y1,x2,y2,label\n0.png,1,2,30,40,cat\n0.png,5,6,20,30,dog\n1.png,0,0,9,9,cat\n"


def _truth() -> dict[str, Any]:
    value: dict[str, Any] = json.loads((_RUN / "truth.json").read_text())
    entry = value["annotations"][0]
    entry |= {"area": 100.0, "iscrowd": 0, "segmentation": [[1, 1, 9, 1, 9, 9]], "attributes": {}}
    value["info"] = {"year": 2020}
    value["images"][0] |= {"license": 1, "coco_url": ""}
    return value


def _results() -> list[dict[str, Any]]:
    return [
        {"image_id": number, "category_id": kind, "bbox": [10.0, 12, 30, 31.5], "score": 0.5}
        for number in range(3)
        for kind in (3, 8)
    ]


def _pictures(place: Place, folder: str, names: tuple[str, ...] = ("0.png", "1.png")) -> str:
    for name in names:
        place.copy(_RUN / name, f"{folder}/{name}")
    return f"in/{folder}"


def coco(rng: random.Random, place: Place) -> Case:
    """Annotations in COCO format with any field of any type."""
    text, what = damaged_json(rng, _truth())
    truth = place.write("truth.json", text)
    images = _pictures(place, "p", tuple(f"{n}.png" for n in range(8)))
    form = rng.randrange(6)
    if form == 0:
        found = place.write("found.json", json.dumps(_results()))
        return Case(what, ("eval", "--annotations", truth, "--detections", found, "--json"))
    if form == 1:
        return Case(what, ("check-data", truth, "--images", images))
    if form <= 3:
        fixed = ("check-data", "out/fixed.json", "--images", images)
        command = ("check-data", truth, "--images", images, "--fix", "out/fixed.json")
        return Case(what, (*command, *rng.choice([(), ("--json",)])), then=fixed)
    if form == 4:
        engine = place.copy(GOOD / "detections.fp32.engine")
        place.copy(GOOD / "detections.fp32.engine.json")
        save = ("--save-detections", "out/found.json", "--json")
        where = ("--annotations", truth, "--images", images)
        return Case(what, ("eval", "--engine", engine, *where, *save))
    if rng.random() < 0.6:
        good = place.write("good.json", json.dumps(_truth()))
        checked = ("check-data", good, "--images", images, "--val-annotations", truth)
        return Case(what, (*checked, "--val-images", images, "--json"))
    return Case(what, train_once(truth, images))


def train_once(truth: str, images: str, *more: str) -> tuple[str, ...]:
    """A command line that trains for one update."""
    return (
        *("train", "--model", "mobilenet_v1", "--annotations", truth, "--images", images),
        *("--output", "out/run", "--width", "0.03", "--batch", "2", "--iterations", "1"),
        *("--workers", "0", "--threads", "1", "--device", "cpu", *more),
    )


def results(rng: random.Random, place: Place) -> Case:
    """A result file in COCO format."""
    text, what = damaged_json(rng, _results())
    found = place.write("found.json", text)
    truth = place.write("truth.json", json.dumps(_truth()))
    more = rng.choice(
        [(), ("--json",), ("--metric", "voc07"), ("--metric", "voc12", "--json"), ("--json",)]
    )
    return Case(what, ("eval", "--annotations", truth, "--detections", found, *more))


def voc(rng: random.Random, place: Place) -> Case:
    """Pascal VOC's XML, its lists of a split and its folders."""
    text: bytes | str = VOC
    split = "0\n1\n"
    part = rng.randrange(6)
    if part <= 2:
        text, what = damaged_text(rng, VOC.replace("><", ">\n<"))
    elif part == 3:
        text, what = damaged_bytes(rng, VOC.encode())
    elif part == 4:
        split, what = damaged_text(rng, rng.choice(["0 1\n1 -1\n", split]))
    else:
        name = rng.choice(["&a;", "&b;" * 50, "&c;", "&d;", "<![CDATA[x\ny]]>", "&#x1b;", "&#0;"])
        odd = VOC.replace("cat", name)
        encoding = rng.choice(["utf-7", "x", "cp037", "idna"])
        text = rng.choice(
            [
                ENTITIES + odd,
                "<a>" * 50_000,
                odd.encode("utf-16"),
                f'<?xml version="1.0" encoding="{encoding}"?>{odd}',
                VOC.replace("annotation", "annotations"),
                VOC.replace("<object>", "<object><part><name>head</name></part>"),
                VOC.replace("cat", rng.choice(ODD_TEXTS).replace("<", "")),
                VOC.replace("0.png", rng.choice(ODD_TEXTS).replace("<", "")),
            ]
        )
        what = "odd XML"
    place.write("VOC/Annotations/0.xml", text)
    place.write("VOC/Annotations/1.xml", VOC.replace("0.png", "1.png"))
    place.write("VOC/ImageSets/Main/train.txt", split)
    images = _pictures(place, "VOC/JPEGImages")
    more = rng.choice([(), ("--split", "train"), ("--zero-based",), ("--keep-difficult", "--json")])
    command: tuple[str, ...] = ("convert-voc", "--folder", "in/VOC", "-o", "out/c.json", *more)
    if rng.random() < 0.5:
        command = ("convert", "--from", "voc", "in/VOC", "-o", "out/c.json", *more)
    if part == 4:
        command = (*command[:5], "--split", "train") if "--split" not in command else command
    return Case(what, command, then=("check-data", "out/c.json", "--images", images))


def yolo(rng: random.Random, place: Place) -> Case:
    """YOLO's labels, data.yaml, obj.data and lists."""
    yaml, labels = _YAML, "0 0.5 0.5 0.2 0.3\n1 0.25 0.25 0.1 0.1\n"
    listed = "images/0.png\nimages/1.png\n"
    part = rng.randrange(5)
    if part <= 1:
        labels, what = damaged_text(rng, labels)
    elif part == 2:
        yaml, what = damaged_text(rng, yaml)
    elif part == 3:
        key = rng.choice(["path", "train", "val", "nc", "names"])
        value = rng.choice(
            [*ODD_TEXTS[:40], "[1, 2]", "{a: b}", "!!python/object:os.x {}", "&a [*a]"]
        )
        yaml, what = f"{yaml}{key}: {value}\n", f"{key} is {value!r:.60}"
    else:
        listed, what = damaged_text(rng, listed)
        yaml = yaml.replace("train: images", "train: list.txt")
    place.write("Y/data.yaml", yaml)
    place.write("Y/list.txt", listed)
    place.write("Y/obj.names", "cat\ndog\n")
    place.write("Y/obj.data", f"classes = 2\ntrain = list.txt\nnames = obj.names\n{labels[:20]}")
    place.write("Y/labels/0.txt", labels)
    place.write("Y/labels/1.txt", "0 0.5 0.5 0.2 0.3\n")
    images = _pictures(place, "Y/images")
    source = rng.choice(["in/Y", "in/Y/data.yaml", "in/Y/data.yaml", "in/Y/obj.data"])
    if part >= 2:
        source = "in/Y/data.yaml"
    more = rng.choice([(), ("--json",), ("--split", "train"), ("--split", "in/Y/list.txt")])
    command = ("convert", "--from", "yolo", source, "-o", "out/c.json", *more)
    return Case(what, command, then=("check-data", "out/c.json", "--images", images))


def csv(rng: random.Random, place: Place) -> Case:
    """CSV files of boxes."""
    if rng.random() < 0.7:
        text, what = damaged_text(rng, _CSV)
        content = text.encode("utf-8", "surrogatepass")
    else:
        forms = {
            "a quote without end": _CSV + '"0.png,1,2,3',
            "a long field": _CSV + "0.png,1,2,3,4," + "a" * 200_000 + "\n",
            "semicolons": _CSV.replace(",", ";"),
            "a line break in a name": _CSV + '0.png,1,2,3,4,"a\nb"\n',
            "a name of control characters": _CSV + "0.png,1,2,3,4,\x1b[31m\u202ex\n",
            "a header alone": _CSV[:25],
            "many columns": _CSV + ",".join("1" * 5000),
            "carriage returns": _CSV.replace("\n", "\r"),
        }
        name = rng.choice([*forms, "bytes"])
        content, what = (
            damaged_bytes(rng, _CSV.encode()) if name == "bytes" else (forms[name].encode(), name)
        )
    source = place.write("boxes.csv", content)
    images = _pictures(place, "p")
    more = rng.choice([(), ("--json",)])
    command = ("convert", "--from", "csv", source, "--images", images, "-o", "out/c.json", *more)
    return Case(what, command, then=("check-data", "out/c.json", "--images", images))


def labels(rng: random.Random, place: Place) -> Case:
    """Text files of class names."""
    text, what = rng.choice(
        [
            damaged_text(rng, "cat\ndog\n"),
            ("\n".join(f"class {n}" for n in range(rng.choice((1, 1023, 1024, 100_000)))), "many"),
            (rng.choice(ODD_TEXTS) + "\ndog\n", "an odd name"),
            ("cat\ncat\n", "a name twice"),
            ("dog\n" + "a" * 10**6 + "\n", "a long name"),
        ]
    )
    content = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.2:
        content, what = damaged_bytes(rng, content[:1000])
    path = place.write("labels.txt", content)
    form = rng.randrange(4)
    picture = place.copy(GOOD / "picture.png")
    if form <= 1:
        weights = place.copy(GOOD / "plain.pth")
        used = ("--model", "mobilenet_v1", "--weights", weights, "--labels", path)
        more = rng.choice([("--json",), ("-o", "out/p"), ()])
        return Case(what, ("detect", *used, picture, "--threads", "1", *more))
    if form == 2:
        engine = place.copy(GOOD / "detections.fp32.engine")
        place.copy(GOOD / "detections.fp32.engine.json")
        return Case(what, ("detect", "--engine", engine, "--labels", path, picture, "-o", "out/p"))
    source = place.write("boxes.csv", _CSV)
    images = _pictures(place, "p")
    where = ("--images", images, "--labels", path, "-o", "out/c.json")
    return Case(
        what,
        ("convert", "--from", "csv", source, *where),
        then=("check-data", "out/c.json", "--images", images),
    )


def sets(rng: random.Random, place: Place) -> Case:
    """Sets of years and splits, and the option that names them."""
    text, what = damaged_json(rng, _truth())
    place.write("C/annotations/instances_val2017.json", text)
    place.write("C/annotations/instances_train2017.json", json.dumps(_truth()))
    _pictures(place, "C/val2017")
    place.write("V/VOC2007/Annotations/0.xml", damaged_text(rng, VOC)[0])
    split, _ = damaged_text(rng, "0\n")
    place.write("V/VOC2007/ImageSets/Main/val.txt", split)
    _pictures(place, "V/VOC2007/JPEGImages")
    named = rng.choice(["2017:val", "2017:val,2017:train", "2007:val", rng.choice(ODD_TEXTS[:35])])
    folder = "in/V" if named.startswith("2007") else "in/C"
    named = named.replace("\x00", "").replace("\ud800", "\udcff")
    found = place.write("found.json", json.dumps(_results()))
    command = rng.choice(
        [
            ("check-data", folder, "--sets", named),
            ("eval", "--annotations", folder, "--sets", named, "--detections", found, "--json"),
            ("check-data", folder, "--sets", named, "--fix", "out/fixed.json"),
        ]
    )
    return Case(what, command)
