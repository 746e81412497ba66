"""The program on the server: deploys from Git, backs up, watches, and tells. Standard library only."""
