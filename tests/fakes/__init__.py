"""Small real servers and clients that behave as the outside world does, errors included."""
