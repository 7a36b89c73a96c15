"""Finds a TCP port on which nobody listens."""

import socket


def free_port() -> int:
    """A free port on 127.0.0.1, for programs that cannot be told port 0; take it at once, it is not reserved."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port
