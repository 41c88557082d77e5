"""What the tests share: a letterlock server in a temporary directory, ports, peers."""
