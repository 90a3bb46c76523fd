"""What the operating system is asked for: locks, temporary files, children that end."""
