"""Files of the adapter: finding, reading, checking and writing them."""
