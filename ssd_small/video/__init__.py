"""Videos, cameras and network streams: from a source to frames, and from frames to a video."""
