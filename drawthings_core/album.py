"""Where results are written as they arrive: one array for all pictures of a batch, a clip or several runs."""

from __future__ import annotations

import numpy as np

from .errors import BadResult
from .images import Picture


class Album:
    """Pictures of one size, in order, in one float32 [N, H, W, 3] (and alpha [N, H, W]) that is allocated once.

    expected: how many pictures will come. More of them, or pictures of another size, get a further array.
    """

    def __init__(self, expected: int = 1):
        self._expected = max(1, expected)
        self._rgb = np.empty((0, 0, 0, 3), np.float32)
        self._alpha: np.ndarray | None = None
        self._used = 0
        self.pictures: list[Picture] = []
        """Views, in the order of `place`."""

    def place(self, height: int, width: int, alpha: bool) -> Picture:
        """The place of the next picture, its content undefined: rgb [H, W, 3], alpha [H, W] when asked for. Raises BadResult for one that
        does not fit into memory.
        """
        if self._used == len(self._rgb) or self._rgb.shape[1:3] != (height, width):
            # Memory that is not written to is not taken, so that expecting too many costs nothing
            self._rgb = _empty(max(1, self._expected - len(self.pictures)), height, width, 3)
            self._alpha, self._used = None, 0
        if alpha and self._alpha is None:
            self._alpha = _empty(len(self._rgb), height, width)
        picture = Picture(self._rgb[self._used], self._alpha[self._used] if alpha and self._alpha is not None else None)
        self._used += 1
        self.pictures.append(picture)
        return picture

    def add(self, rgb: np.ndarray) -> Picture:
        """A copy of an opaque picture [H, W, 3] as the next one."""
        picture = self.place(*rgb.shape[:2], alpha=False)
        picture.rgb[:] = rgb
        return picture

    def absorb(self, other: Album) -> None:
        """Put the pictures of another album, which is of no use any more, behind those that are here; without a copy where it has all
        that this one expects.
        """
        if not self.pictures and len(other.pictures) == self._expected:
            self._rgb, self._alpha, self._used, self.pictures = other._rgb, other._alpha, other._used, other.pictures
            return
        for picture in other.pictures:
            height, width, _ = picture.rgb.shape
            place = self.place(height, width, alpha=picture.alpha is not None)
            place.rgb[:] = picture.rgb
            if picture.alpha is not None and place.alpha is not None:
                place.alpha[:] = picture.alpha

    def discard(self, count: int) -> None:
        """Keep the first `count` pictures only."""
        self._used = max(0, self._used - (len(self.pictures) - count))
        del self.pictures[count:]

    def images(self) -> np.ndarray:
        """All colours, float32 [N, H, W, 3]; without a copy when as many came as were expected. All are of one size."""
        if self._used == len(self.pictures) and 2 * self._used > len(self._rgb):
            return self._rgb[: self._used]
        return np.stack([picture.rgb for picture in self.pictures])

    def transparencies(self) -> np.ndarray:
        """1 - alpha as float32 [N, H, W]: 0 for an opaque picture. All are of one size."""
        result = np.zeros((len(self.pictures), *self.pictures[0].rgb.shape[:2]), np.float32)
        for number, picture in enumerate(self.pictures):
            if picture.alpha is not None:
                result[number] = 1 - picture.alpha
        return result


def _empty(count: int, *shape: int) -> np.ndarray:
    try:
        return np.empty((count, *shape), np.float32)
    except MemoryError:  # a system that reserves memory before it is used
        pass
    try:
        return np.empty((1, *shape), np.float32)
    except MemoryError as error:
        raise BadResult(f"An image of {shape[1]}x{shape[0]} does not fit into the memory of this machine: try a smaller size.") from error
