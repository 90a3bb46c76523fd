"""What a machine has, what an engine holds, and a test that proves it runs."""
