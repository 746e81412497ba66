"""From a commit to running containers, and back."""
