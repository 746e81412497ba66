"""What runs in Docker: the compose file as Compose reads it, containers, labels for Traefik."""
