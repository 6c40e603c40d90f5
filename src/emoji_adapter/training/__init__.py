"""Training: one loop on accelerate; what differs between stages lives behind the Protocol `Stage`."""
