"""DNS records of the server's names: plan, apply exactly that, wait until they are served."""
