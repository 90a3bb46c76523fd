"""What a machine has, what an engine contains, and a self-test that proves it runs."""
