"""Training data: from a folder of pictures to a cached set that training reads without touching a picture."""
