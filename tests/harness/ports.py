"""Free loopback ports, chosen at random."""
import random
import socket


def free(port, host="127.0.0.1"):
    """True when host:port can be bound now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((host, port))
        except OSError:
            return False
    return True


def pick():
    """A free port below the range that the kernel gives to outgoing connections."""
    while True:
        port = random.randint(10000, 31000)
        if free(port):
            return port


def base(offsets=(25, 443, 465, 587)):
    """A number N such that N + each offset is free on 127.0.0.1 and ::1."""
    while True:
        n = random.randint(10000, 31000)
        if all(free(n + o) and free(n + o, "::1") for o in offsets):
            return n
