"""What can be a class name, and the names of the data sets that configurations name.

Background is left out; the order is that of the labels.

Sources: the devkit of Pascal VOC (Everingham et al. 2010), in which the published order is that of
the alphabet; COCO (Lin et al. 2014), by ascending category id.
"""

from __future__ import annotations

import unicodedata

#: control characters, halves of surrogate pairs, ends of lines and paragraphs
_REFUSED = {"Cc", "Cs", "Zl", "Zp"}
#: joiners and other signs without a shape, blanks
_INVISIBLE = {"Cf", "Zs"}

VOC_NAMES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
COCO_NAMES = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"),
    *("traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat"),
    *("dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack"),
    *("umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball"),
    *("kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket"),
    *("bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple"),
    *("sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair"),
    *("couch", "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse"),
    *("remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink"),
    *("refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier"),
    "toothbrush",
)


def name_fault(name: str) -> str | None:
    """Why a class name cannot be one, None if it can: it takes a line of a text file.

    Whatever can be shown in a line can be part of it, joiners and no-break spaces included.
    """
    kinds = {unicodedata.category(sign) for sign in name}
    if kinds & _REFUSED:
        return "is not printable: it holds a control character or the end of a line"
    return "is empty" if kinds <= _INVISIBLE else None


def composed(name: str) -> str:
    """One of the forms that unicode has for a name; file systems, lists and keyboards differ in it.

    People see no difference.
    """
    return unicodedata.normalize("NFC", name)


def names_from_dataset(dataset: str, num_classes: int) -> tuple[str, ...] | None:
    """Names of a data set's classes; None if a network of ``num_classes`` has other ones."""
    names = {"voc": VOC_NAMES, "coco": COCO_NAMES}[dataset]
    return names if num_classes == len(names) + 1 else None
