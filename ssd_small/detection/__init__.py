"""From a picture to detections: loading, detector, pipeline, results, drawing."""
