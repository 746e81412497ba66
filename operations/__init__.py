"""What happens on a server: one module per step of deploy.py."""
