"""A door by HTTP: pictures are posted, detections answered; on uvicorn, with a queue of its own."""
