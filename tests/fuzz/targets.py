"""All targets."""

from fuzz import of_credentials, of_events
from fuzz.registry import TARGETS

__all__ = ["TARGETS", "of_credentials", "of_events"]
