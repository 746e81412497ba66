"""OVH's own HTTP API: the account, its answers, its credentials."""
