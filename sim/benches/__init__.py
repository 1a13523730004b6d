# SPDX-License-Identifier: Apache-2.0
"""cocotb benches: a module per block, run inside a simulator by `frenn.sim.benches.runner`."""
