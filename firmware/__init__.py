# SPDX-License-Identifier: Apache-2.0
"""What the machine runs: network graph, number formats, instruction set, compiler, image."""
