"""What a call looks like: use cases, their model mix, token sizes, cache behaviour, hours of the day.

Belongs here: tables of whole numbers that `calls` draws from. Does not belong here: drawing (`draws`), how many calls
a key makes (`traffic`), prices (`prices`). Token figures are per logged row and large on purpose: one row stands for
a whole agent turn, so that 200,000 rows cost what sixty engineers cost. Dollars grow linearly with the rows.
"""

from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np

from tokengov_pipelines.demo.draws import IntArray
from tokengov_pipelines.demo.prices import MODEL_INDEX, SOL_RELEASE, SONNET_5_RELEASE

USE_CASES: Final = ("autocomplete", "code-review", "refactor", "autonomous-agent", "doc-qa", "nightly-evals")
"""The first four are the taxonomy of Rule 3.8; the others come out as `unknown`."""

AUTOCOMPLETE, CODE_REVIEW, REFACTOR, AGENT, DOC_QA, EVALS = range(6)


@dataclass(frozen=True)
class Mix:
    """Share of each use case, and of tagging: (untagged, metadata, request tag, both agree, two tags)."""

    use_cases: tuple[int, ...]
    tagging: tuple[int, ...]


MIXES: Final = {
    "product": Mix((270, 160, 230, 290, 50, 0), (80, 430, 400, 87, 3)),
    "data": Mix((200, 120, 250, 350, 80, 0), (110, 480, 350, 57, 3)),
    "platform": Mix((220, 180, 200, 360, 40, 0), (60, 500, 400, 37, 3)),
    "service": Mix((0, 520, 120, 160, 200, 0), (40, 700, 240, 20, 0)),
    "batch": Mix((0, 0, 0, 0, 0, 1000), (0, 900, 100, 0, 0)),
    "unowned": Mix((0, 0, 1000, 0, 0, 0), (1000, 0, 0, 0, 0)),
}

_SLOTS: Final = ("opus", "sonnet", "haiku", "gpt", "gpt-5.3-codex", "gpt-5.4-mini", "gemini-3.1-pro-preview",
                 "gemini-3.5-flash")  # fmt: skip
_SLOT_MODELS: Final = {"opus": "claude-opus-4-8", "haiku": "claude-haiku-4-5"}

# Rows: use cases. Columns: slots.
MODEL_MIX: Final[IntArray] = np.array(
    [
        [0, 0, 580, 0, 0, 270, 0, 150],
        [60, 330, 60, 80, 250, 60, 130, 30],
        [160, 360, 20, 170, 150, 20, 110, 10],
        [380, 240, 0, 260, 70, 0, 50, 0],
        [0, 150, 250, 0, 0, 180, 120, 300],
        [0, 650, 0, 0, 0, 350, 0, 0],
    ],
    dtype=np.int64,
)
UNOWNED_MODEL_MIX: Final[IntArray] = np.array([[0, 0, 0, 600, 0, 400, 0, 0]], dtype=np.int64)

# Quantiles at 0, 1/8 ... 8/8. Prompt tokens include what the provider's cache served and stored.
PROMPT_TOKENS: Final[IntArray] = np.array(
    [
        [1_500, 3_000, 5_000, 8_000, 12_000, 16_000, 22_000, 30_000, 60_000],
        [12_000, 30_000, 48_000, 70_000, 95_000, 125_000, 160_000, 210_000, 320_000],
        [30_000, 70_000, 110_000, 150_000, 200_000, 250_000, 310_000, 400_000, 600_000],
        [80_000, 180_000, 270_000, 350_000, 430_000, 520_000, 620_000, 740_000, 940_000],
        [3_000, 8_000, 15_000, 25_000, 35_000, 50_000, 70_000, 100_000, 160_000],
        [150_000, 220_000, 280_000, 340_000, 400_000, 460_000, 540_000, 640_000, 800_000],
    ],
    dtype=np.int64,
)
OUTPUT_TOKENS: Final[IntArray] = np.array(
    [
        [20, 60, 120, 200, 300, 420, 600, 900, 1_800],
        [800, 2_000, 3_500, 5_500, 8_000, 11_000, 15_000, 20_000, 30_000],
        [4_000, 8_000, 13_000, 19_000, 26_000, 34_000, 43_000, 54_000, 72_000],
        [10_000, 20_000, 30_000, 41_000, 53_000, 66_000, 82_000, 102_000, 136_000],
        [100, 250, 450, 700, 1_000, 1_400, 2_000, 3_000, 6_000],
        [20_000, 28_000, 35_000, 42_000, 50_000, 58_000, 68_000, 80_000, 100_000],
    ],
    dtype=np.int64,
)
# Permille of the prompt: (least, most) served from the provider's cache, then stored in it (Anthropic only).
CACHE_READ_PERMILLE: Final[IntArray] = np.array(
    [[300, 800], [250, 700], [500, 850], [700, 920], [0, 500], [0, 0]], dtype=np.int64
)
CACHE_WRITE_PERMILLE: Final[IntArray] = np.array(
    [[20, 80], [50, 140], [30, 110], [20, 70], [0, 60], [0, 0]], dtype=np.int64
)

# Weight of each local hour of the day.
HOURS: Final[dict[str, IntArray]] = {
    "personal": np.array(
        [2, 1, 0, 0, 0, 1, 4, 18, 40, 52, 50, 34, 44, 54, 52, 46, 34, 18, 10, 8, 7, 5, 3, 2], dtype=np.int64
    ),
    "service": np.array(
        [10, 8, 8, 8, 8, 8, 12, 22, 36, 44, 46, 40, 42, 46, 46, 42, 36, 28, 20, 16, 14, 12, 12, 10], dtype=np.int64
    ),
    "nightly": np.array([0, 30, 50, 40, 10, *([0] * 19)], dtype=np.int64),
}
HOURS["team"] = HOURS["personal"]

# Percent of a full working day, Monday to Sunday.
WEEKDAYS: Final = {
    "personal": (94, 104, 107, 103, 88, 7, 5),
    "team": (94, 104, 107, 103, 88, 6, 4),
    "service": (98, 102, 104, 102, 96, 24, 20),
    "nightly": (100, 100, 100, 100, 100, 60, 60),
}


def slot_models(day: date) -> IntArray:
    """The model index behind each column of the model mix on a UTC day."""
    sonnet = "claude-sonnet-5" if day >= SONNET_5_RELEASE else "claude-sonnet-4-6"
    gpt = "gpt-5.6-sol" if day >= SOL_RELEASE else "gpt-5.5"
    names = {**_SLOT_MODELS, "sonnet": sonnet, "gpt": gpt}
    return np.array([MODEL_INDEX[names.get(slot, slot)] for slot in _SLOTS], dtype=np.int64)
