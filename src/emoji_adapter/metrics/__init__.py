"""What is measured on pictures, as pure functions of what judges read and what is true."""
