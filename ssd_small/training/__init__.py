"""Training of detectors: matching of priors to objects, and the loss."""
