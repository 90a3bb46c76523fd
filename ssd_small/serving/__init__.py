"""Running existing engines at scale: HTTP and Triton services, and batch jobs."""
