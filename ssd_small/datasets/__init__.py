"""Ground truth: COCO-format annotations, read, converted from other formats, or generated."""
