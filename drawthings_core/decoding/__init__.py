"""Decoding compressed tensors outside of this process: fpzip's decoder ends or hangs its process on damaged input.

Uploads are compressed there too, since fpzip stops all threads of its process.
"""

from .pool import NotFinite, Pool, shared

__all__ = ["NotFinite", "Pool", "shared"]
