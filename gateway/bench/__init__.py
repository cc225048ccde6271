"""The load of `gateway bench`: holds streams, publishes, and accounts for every event on every stream.

Rule: one thread, one clock (`time.perf_counter`), and little work for each delivery, for what this client needs is
measured with what the gateway needs.
"""
