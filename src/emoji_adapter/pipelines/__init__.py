"""Stock diffusers pipelines that understand `identity_image` and `expression`."""
