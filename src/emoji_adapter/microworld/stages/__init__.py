"""The stages that make every micro weight from nothing."""
