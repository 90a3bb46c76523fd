"""HTTP service: clients post pictures and receive detections; on uvicorn, with our own queue."""
