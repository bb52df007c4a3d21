"""The blocking client."""

from .client import Client

__all__ = ["Client"]
