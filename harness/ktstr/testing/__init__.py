# SPDX-License-Identifier: GPL-2.0-only
"""Test doubles for users and for our own unit tests: a scripted guest, a canned RAM image."""
