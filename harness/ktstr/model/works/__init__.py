# SPDX-License-Identifier: GPL-2.0-only
"""The work types a scenario may name, a module per family."""
