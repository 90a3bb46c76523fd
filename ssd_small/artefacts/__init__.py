"""What an artefact says of itself: description, labels, sidecar."""
