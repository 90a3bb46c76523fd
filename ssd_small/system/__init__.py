"""Services of the operating system: locks, temporary files, children that end with their parent."""
