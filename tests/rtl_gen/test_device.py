# SPDX-License-Identifier: Apache-2.0
"""The device at its packet streams, against golden and against wrong requests."""

from pathlib import Path

import pytest
from frenn.rtl_gen.devices import make_device
from frenn.sim.benches.device import example
from frenn.sim.benches.runner import run


@pytest.mark.parametrize(("lanes", "wide"), [(1, True), (1, False), (4, True), (12, False)])
def test_device(seed: int, tmp_path: Path, lanes: int, wide: bool) -> None:
    _, parameters = example(lanes, wide)
    run(
        make_device(parameters),
        "frenn.sim.benches.device",
        name="device",
        seed=seed,
        parameters={"LANES": str(lanes), "WIDE": str(int(wide))},
        build_dir=tmp_path,
    )
