"""Faces: reading pictures, finding faces, aligning and cropping them."""
