# SPDX-License-Identifier: Apache-2.0
"""All cases of the matrix on all fronts."""
import pytest
from matrix.proof import FRONTS, everything, prove


@pytest.mark.long
@pytest.mark.parametrize("front", FRONTS)
def test_everything(new_matrix, front):
    up, mpm, h2 = front
    site = new_matrix(up, mpm, agreed="named" if up else True)
    prove(site, everything(site), h2)
