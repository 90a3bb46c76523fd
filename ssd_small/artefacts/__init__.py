"""What an artefact says about itself: description, labels, sidecar."""
