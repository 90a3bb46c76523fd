"""The road from a picture to detections: load, detector, pipeline, results, drawing."""
