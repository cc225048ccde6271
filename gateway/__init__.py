"""event-gateway: Server-Sent Events for many clients, fed by Redis. Start with docs/architecture.md."""

__version__ = "0.1.0"
