# SPDX-License-Identifier: Apache-2.0
"""What a person uses: command line, training loop, device driver, transports, datasets, reports."""
