"""Encoders: pictures of faces to identity embeddings, expression features and blendshapes."""
