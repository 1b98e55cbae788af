"""A real engine: run it on real and synthetic models, and hold what it measures against the prediction."""
