"""Identity and expression adapters for Stable Diffusion."""
