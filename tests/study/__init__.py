# SPDX-License-Identifier: GPL-2.0-only
"""How often rules that compare repeated runs are wrong: ``python -m tests.study``."""
