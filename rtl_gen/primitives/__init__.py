# SPDX-License-Identifier: Apache-2.0
"""What FPGA families build in silicon, each behind one interface: multipliers and memories with their registers."""
