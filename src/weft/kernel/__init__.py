"""Plans made so on Linux. `linux.LinuxKernel` interprets plans, `watch.Watch` notices drift, `ports` holds host ports.

The only room that speaks netlink, nf_tables and namespaces; nothing above it knows how.
"""
