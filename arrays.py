"""The arrays that everything here is made of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UInt8Image = NDArray[np.uint8]  # (h, w, 3), RGB
UInt8Mask = NDArray[np.uint8]  # (h, w)
