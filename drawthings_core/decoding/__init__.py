"""Decoding compressed tensors outside of this process: fpzip's decoder ends or hangs its process on damaged input."""

from .pool import Pool, shared

__all__ = ["Pool", "shared"]
