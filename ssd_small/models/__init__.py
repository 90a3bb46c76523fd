"""The six networks: specs (data), building blocks and the registry."""
