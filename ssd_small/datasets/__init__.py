"""Ground truth: COCO-format annotations, converted to them, or made on the spot."""
