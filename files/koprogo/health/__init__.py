"""What is wrong with this server, since when, and whether somebody is to be told."""
