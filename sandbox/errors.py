"""What goes wrong in the sandbox, said in a line or two."""


class SandboxError(Exception):
    """Something an operator of the sandbox can act on; its text says what happened and what to do."""
