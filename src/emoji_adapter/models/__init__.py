"""Networks of the adapter and the way they act in a U-Net."""
