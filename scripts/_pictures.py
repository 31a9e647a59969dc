"""The example workflows' own pictures, painted with numpy alone so that they come out the same everywhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

WIDTH, HEIGHT = 768, 512
SOFT_EDGE = 1.5
"""Pixels over which one shape's edge fades into what is behind it."""

Picture = np.ndarray
"""float64 [H, W, 3] or [H, W], 0..1."""


class Canvas:
    """Shapes laid over one another, later ones in front."""

    def __init__(self, width: int, height: int, colour: tuple[float, ...]):
        self.y, self.x = np.mgrid[0:height, 0:width] + 0.5
        self.pixels: Picture = np.broadcast_to(np.array(colour), (height, width, len(colour))).copy()

    def fill(self, distance: np.ndarray, colour: np.ndarray | tuple[float, ...], softness: float = SOFT_EDGE) -> None:
        """Paint where `distance` (pixels, negative inside) is below 0."""
        cover = np.clip(0.5 - distance / softness, 0, 1)[..., None]
        self.pixels = self.pixels * (1 - cover) + np.asarray(colour) * cover

    def circle(self, x: float, y: float, radius: float) -> np.ndarray:
        return np.hypot(self.x - x, self.y - y) - radius

    def box(self, left: float, top: float, right: float, bottom: float) -> np.ndarray:
        return np.maximum(np.maximum(left - self.x, self.x - right), np.maximum(top - self.y, self.y - bottom))

    def polygon(self, *corners: tuple[float, float]) -> np.ndarray:
        """A convex polygon; corners clockwise as seen on screen."""
        sides = zip(corners, corners[1:] + corners[:1], strict=True)
        return np.max(
            [((self.y - y0) * (x0 - x1) + (self.x - x0) * (y1 - y0)) / np.hypot(x1 - x0, y1 - y0) for (x0, y0), (x1, y1) in sides], 0
        )

    def below(self, line: np.ndarray) -> np.ndarray:
        """Under a line y(x)."""
        return line - self.y


HOUSE = (430.0, 236.0, 580.0, 356.0)
"""left, top, right, bottom of its wall, in pixels."""
SUN = (610.0, 104.0, 46.0)
TREES = ((150.0, 350.0, 96.0), (232.0, 366.0, 70.0), (672.0, 372.0, 84.0))
"""Trunk foot x, y and height of each."""


def _hills(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y(x) of far mountains, near hills and the meadow."""
    far = 232 + 34 * np.sin(x / 61 + 0.7) + 22 * np.sin(x / 23.0) * np.cos(x / 140)
    near = 292 + 26 * np.sin(x / 118 + 2.1)
    meadow = 346 + 12 * np.sin(x / 170 + 0.4)
    return far, near, meadow


def _path(canvas: Canvas) -> np.ndarray:
    """A path from the door to the lower edge."""
    down = np.clip((canvas.y - HOUSE[3]) / (HEIGHT - HOUSE[3]), 0, 1)
    centre = 505 - 150 * down**1.4
    return np.maximum(np.abs(canvas.x - centre) - (10 + 52 * down), HOUSE[3] - canvas.y)


def landscape() -> Picture:
    """A meadow with a house, trees, hills and the sun, [512, 768, 3]."""
    canvas = Canvas(WIDTH, HEIGHT, (0, 0, 0))
    height = canvas.y[..., None] / HEIGHT
    canvas.pixels = (1 - height * 1.4).clip(0, 1) * np.array((0.36, 0.62, 0.90)) + (height * 1.4).clip(0, 1) * np.array((0.99, 0.88, 0.74))
    x, y, radius = SUN
    glow = np.exp(-((canvas.circle(x, y, radius).clip(0) / 70) ** 1.2))[..., None]
    canvas.pixels = canvas.pixels * (1 - 0.5 * glow) + np.array((1.0, 0.93, 0.62)) * 0.5 * glow
    canvas.fill(canvas.circle(x, y, radius), (1.0, 0.86, 0.32))
    for cloud_x, cloud_y, size in ((120, 92, 30), (168, 78, 38), (214, 96, 28), (370, 140, 20), (404, 132, 26)):
        canvas.fill(canvas.circle(cloud_x, cloud_y, size), (0.99, 0.98, 0.97), 6)
    far, near, meadow = _hills(canvas.x)
    canvas.fill(canvas.below(far), (0.55, 0.63, 0.76))
    canvas.fill(canvas.below(near), (0.42, 0.60, 0.42))
    grass = np.stack([0.36 + 0.05 * np.sin(canvas.y / 9 + canvas.x / 31), 0.66 - canvas.y / 2600, np.full_like(canvas.x, 0.27)], -1)
    canvas.fill(canvas.below(meadow), grass)
    canvas.fill(_path(canvas), (0.84, 0.74, 0.56))
    for foot_x, foot_y, tall in TREES:
        canvas.fill(canvas.box(foot_x - 6, foot_y - tall * 0.4, foot_x + 6, foot_y), (0.42, 0.28, 0.18))
        for dx, dy, size in ((-0.20, 0.62, 0.30), (0.20, 0.62, 0.30), (0.0, 0.86, 0.32)):
            canvas.fill(canvas.circle(foot_x + dx * tall, foot_y - dy * tall, size * tall), (0.16, 0.44, 0.24))
    _house(canvas)
    return canvas.pixels


def _house(canvas: Canvas) -> None:
    left, top, right, bottom = HOUSE
    middle = (left + right) / 2
    canvas.fill(canvas.box(right - 44, top - 76, right - 22, top - 20), (0.55, 0.27, 0.22))
    canvas.fill(canvas.box(*HOUSE), (0.95, 0.90, 0.80))
    canvas.fill(_roof(canvas), (0.74, 0.26, 0.20))
    canvas.fill(canvas.box(middle - 16, bottom - 62, middle + 16, bottom), (0.36, 0.24, 0.18))
    for window in (left + 18, right - 50):
        canvas.fill(canvas.box(window, top + 34, window + 32, top + 70), (0.98, 0.98, 0.96))
        canvas.fill(canvas.box(window + 3, top + 37, window + 29, top + 67), (0.48, 0.68, 0.84))


def _roof(canvas: Canvas) -> np.ndarray:
    left, top, right, _ = HOUSE
    return canvas.polygon(((left + right) / 2, top - 74), (right + 18, top + 4), (left - 18, top + 4))


def house_mask() -> Picture:
    """White over the house with a margin, black elsewhere, [512, 768]."""
    canvas = Canvas(WIDTH, HEIGHT, (0.0,))
    left, top, right, bottom = HOUSE
    canvas.fill(canvas.box(left - 30, top - 92, right + 30, bottom + 8), (1.0,))
    return canvas.pixels[..., 0]


def depth() -> Picture:
    """The landscape's depth, near is bright, [512, 768]."""
    canvas = Canvas(WIDTH, HEIGHT, (0.0,))
    far, near, meadow = _hills(canvas.x)
    canvas.fill(canvas.below(far), (0.16,))
    canvas.fill(canvas.below(near), (0.30,))
    ground = 0.42 + 0.58 * ((canvas.y - 340) / (HEIGHT - 340)).clip(0, 1)
    canvas.fill(canvas.below(meadow), ground[..., None])
    for foot_x, foot_y, tall in TREES:
        near_tree = 0.42 + 0.58 * (foot_y - 340) / (HEIGHT - 340)
        canvas.fill(canvas.box(foot_x - 6, foot_y - tall * 0.4, foot_x + 6, foot_y), (near_tree,))
        for dx, dy, size in ((-0.20, 0.62, 0.30), (0.20, 0.62, 0.30), (0.0, 0.86, 0.32)):
            canvas.fill(canvas.circle(foot_x + dx * tall, foot_y - dy * tall, size * tall), (near_tree,))
    canvas.fill(canvas.box(HOUSE[2] - 44, HOUSE[1] - 76, HOUSE[2] - 22, HOUSE[1] - 20), (0.46,))
    canvas.fill(np.minimum(canvas.box(*HOUSE), _roof(canvas)), (0.50,))
    return canvas.pixels[..., 0]


def autumn() -> Picture:
    """A moodboard picture: fallen leaves in warm colours, [320, 320, 3]."""
    canvas = Canvas(320, 320, (0.35, 0.16, 0.10))
    colours = ((0.86, 0.36, 0.10), (0.96, 0.66, 0.16), (0.70, 0.18, 0.12), (0.58, 0.36, 0.12))
    chance = np.random.RandomState(7)  # its stream is frozen for good
    for number in range(70):
        x, y, turn, size = chance.random_sample(4) * (320, 320, np.pi, 16) + (0, 0, 0, 16)
        along = (canvas.x - x) * np.cos(turn) + (canvas.y - y) * np.sin(turn)
        across = (canvas.y - y) * np.cos(turn) - (canvas.x - x) * np.sin(turn)
        canvas.fill((np.hypot(along / 1.5, across / 0.65) - size), colours[number % len(colours)])
        canvas.fill(np.maximum(np.abs(across) - 0.6, np.abs(along) - 1.2 * size), (0.30, 0.12, 0.08))
    return canvas.pixels


def tiles() -> Picture:
    """A moodboard picture: blue and white tiles, [256, 384, 3]."""
    canvas = Canvas(384, 256, (0.95, 0.95, 0.92))
    u, v = (canvas.x % 64) - 32, (canvas.y % 64) - 32
    canvas.fill(np.abs(np.hypot(u, v) - 20) - 4, (0.10, 0.28, 0.62))
    canvas.fill(np.abs(u) + np.abs(v) - 11, (0.16, 0.50, 0.74))
    canvas.fill(np.hypot(np.abs(u) - 32, np.abs(v) - 32) - 13, (0.10, 0.28, 0.62))
    canvas.fill(32 - np.maximum(np.abs(u), np.abs(v)) - 1.5, (0.72, 0.74, 0.74))
    return canvas.pixels


_JOINTS = {
    "nose": (196, 78),
    "neck": (192, 132),
    "right shoulder": (146, 136),
    "right elbow": (98, 178),
    "right wrist": (120, 236),
    "left shoulder": (238, 130),
    "left elbow": (284, 84),
    "left wrist": (300, 26),
    "right hip": (166, 272),
    "right knee": (132, 362),
    "right ankle": (148, 462),
    "left hip": (222, 270),
    "left knee": (266, 352),
    "left ankle": (246, 456),
    "right eye": (184, 66),
    "left eye": (208, 64),
    "right ear": (168, 76),
    "left ear": (224, 72),
}
"""x and y of OpenPose's key points, of a dancer with one arm up."""
_LIMBS = (
    ("neck", "right shoulder"),
    ("neck", "left shoulder"),
    ("right shoulder", "right elbow"),
    ("right elbow", "right wrist"),
    ("left shoulder", "left elbow"),
    ("left elbow", "left wrist"),
    ("neck", "right hip"),
    ("right hip", "right knee"),
    ("right knee", "right ankle"),
    ("neck", "left hip"),
    ("left hip", "left knee"),
    ("left knee", "left ankle"),
    ("neck", "nose"),
    ("nose", "right eye"),
    ("right eye", "right ear"),
    ("nose", "left eye"),
    ("left eye", "left ear"),
)


def dancer_pose() -> Picture:
    """A skeleton as pose controls want it: coloured limbs on black, [512, 384, 3]."""
    canvas = Canvas(384, 512, (0, 0, 0))
    for number, (one, other) in enumerate(_LIMBS):
        canvas.fill(_limb(canvas, _JOINTS[one], _JOINTS[other]), np.array(_hue(number / 18)) * 0.6)
    for number, (x, y) in enumerate(_JOINTS.values()):
        canvas.fill(canvas.circle(x, y, 6), _hue(number / 18))
    return canvas.pixels


def _limb(canvas: Canvas, start: tuple[int, int], end: tuple[int, int]) -> np.ndarray:
    """A line with round ends, 10 px wide."""
    (x0, y0), (x1, y1) = start, end
    along = np.clip(((canvas.x - x0) * (x1 - x0) + (canvas.y - y0) * (y1 - y0)) / ((x1 - x0) ** 2 + (y1 - y0) ** 2), 0, 1)
    return np.hypot(canvas.x - x0 - along * (x1 - x0), canvas.y - y0 - along * (y1 - y0)) - 5


def _hue(turn: float) -> tuple[float, ...]:
    return tuple(float(np.clip(abs((turn * 6 + offset) % 6 - 3) - 1, 0, 1)) for offset in (0, 4, 2))


PICTURES: dict[str, Callable[[], Picture]] = {
    "landscape.png": landscape,
    "landscape_house_mask.png": house_mask,
    "landscape_depth.png": depth,
    "moodboard_autumn.png": autumn,
    "moodboard_tiles.png": tiles,
    "dancer_pose.png": dancer_pose,
}


def eight_bit(picture: Picture) -> np.ndarray:
    """uint8 of the same shape. Rounded to 1e-6 first, so that machines whose sines differ in the last digit agree."""
    return np.floor(np.round(np.clip(picture, 0, 1) * 255, 6) + 0.5).astype(np.uint8)
