"""Messages to people and to their other systems."""
