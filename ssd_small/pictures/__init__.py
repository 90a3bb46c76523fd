"""From image files and arrays to network input."""
