"""What this machine is, and what its memory and arithmetic sustain."""
