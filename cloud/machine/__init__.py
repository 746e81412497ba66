"""The server as a machine: its host keys, logging in, its first boot, a last backup, and the files that note it."""
