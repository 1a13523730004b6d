# SPDX-License-Identifier: Apache-2.0
"""The machine: engine parameters become Amaranth gateware and Verilog."""
