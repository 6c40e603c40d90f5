"""The Hugging Face Hub: downloads, uploads and model cards, and what goes wrong there in words."""
