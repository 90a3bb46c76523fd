"""Valid class names, and the class names of the data sets that configurations refer to.

The lists are in label order, without background.

Sources: the devkit of Pascal VOC (Everingham et al. 2010), whose published order is alphabetical;
COCO (Lin et al. 2014), by ascending category id.
"""

from __future__ import annotations

import unicodedata

#: control characters, surrogates, line and paragraph separators
_REFUSED = {"Cc", "Cs", "Zl", "Zp"}
#: joiners and other invisible characters, and spaces
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
    """Say why a class name cannot fill a line of a text file; None if it can.

    Anything that can be shown in a line is allowed, joiners and no-break spaces included.
    """
    kinds = {unicodedata.category(sign) for sign in name}
    if kinds & _REFUSED:
        return "is not printable: it holds a control character or the end of a line"
    return "is empty" if kinds <= _INVISIBLE else None


def composed(name: str) -> str:
    """Normalise a name (NFC): file systems, lists and keyboards use different Unicode forms.

    The forms look the same to people.
    """
    return unicodedata.normalize("NFC", name)


def names_from_dataset(dataset: str, num_classes: int) -> tuple[str, ...] | None:
    """Return a data set's class names; None if a network with ``num_classes`` has other classes."""
    names = {"voc": VOC_NAMES, "coco": COCO_NAMES}[dataset]
    return names if num_classes == len(names) + 1 else None
