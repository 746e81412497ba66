"""`python -m sandbox.openstack WORLD`: the host's side of Nova."""

from sandbox.openstack.hypervisor import main

if __name__ == "__main__":
    main()
