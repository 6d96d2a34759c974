"""A plain face of 68 landmarks, in dlib's order, to be pulled about."""

import numpy as np


def neutral_face():
    """float64 [68, 2]: upright, eyes 40 apart, mouth closed, symmetric around x = 50."""
    angles = np.linspace(np.pi, 0, 17)
    points = [(50 + 45 * np.cos(a), 42 + 50 * np.sin(a)) for a in angles]  # jaw, 0 to 16
    points += [(x, 30 - 4 * np.sin((x - 18) / 24 * np.pi)) for x in np.linspace(18, 42, 5)]  # brows, 17 to 26
    points += [(x, 30 - 4 * np.sin((x - 58) / 24 * np.pi)) for x in np.linspace(58, 82, 5)]
    points += [(50, y) for y in np.linspace(40, 58, 4)]  # nose, 27 to 35
    points += [(x, 62) for x in np.linspace(44, 56, 5)]
    for middle in (30, 70):  # eyes, 36 to 47
        points += [(middle + x, 40 + y) for x, y in ((-6, 0), (-2, -2), (2, -2), (6, 0), (2, 2), (-2, 2))]
    mouth = [(x, 74 - 3 * np.sin((x - 36) / 28 * np.pi)) for x in np.linspace(36, 64, 7)]  # lips, 48 to 59
    mouth += [(x, 74 + 3 * np.sin((x - 36) / 28 * np.pi)) for x in np.linspace(59, 41, 5)]
    inner = [(40, 74), (45, 74), (50, 74), (55, 74), (60, 74), (55, 74), (50, 74), (45, 74)]  # 60 to 67
    return np.array(points + mouth + inner, np.float64)
