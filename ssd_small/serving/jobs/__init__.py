"""Detection in any number of pictures, in shards, by one process or a cluster."""
