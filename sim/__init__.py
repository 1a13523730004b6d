# SPDX-License-Identifier: Apache-2.0
"""What is true: golden model, digital twin, simulation benches."""
