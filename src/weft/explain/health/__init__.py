"""What can be wrong with a host, and with weft's own state: pure functions from facts to findings."""
