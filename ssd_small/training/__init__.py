"""Training of detectors: data, augmentation, matching of priors to objects, and the loss."""
