"""The code of the page on actors, as it stands."""

import numpy as np
import pages
import pytest
from states import compiled_quickly

PAGE = pages.ROOT / "docs/actors.md"


@pytest.mark.long
def test_the_code_of_the_page_trains():
    [block] = [block for block in pages.blocks(PAGE) if block.language == "python"]
    names: dict = {}
    with compiled_quickly():
        pages.run(block, PAGE, names)
    assert names["history"]["env_steps"][-1] == 8192
    assert (names["history"]["charts/actors"] == 2).all()
    assert np.isfinite(names["history"]["losses/value_loss"]).all()
