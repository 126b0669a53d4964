# SPDX-License-Identifier: GPL-2.0-only
"""The daemon's HTTP interface: one table of operations, of which routes and OpenAPI are made."""
