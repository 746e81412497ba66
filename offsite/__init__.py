"""The operator's side of the off-site copies: what a server may do there, tidying up, and a lost server's return."""
