"""Small trainable stand-ins of off-the-shelf face tools, exported to the file formats of the real ones."""
