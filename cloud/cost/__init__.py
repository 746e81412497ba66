"""What a server costs and emits."""
