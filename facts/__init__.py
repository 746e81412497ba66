"""What pyinfra cannot ask a server by itself, asked in one go."""
