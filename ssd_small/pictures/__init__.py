"""Image files and arrays, and how they become network input."""
