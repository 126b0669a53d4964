# SPDX-License-Identifier: GPL-2.0-only
"""The guest agent: receives one scenario, runs it, ships what happened.

Imports stay small on purpose: under an emulator each standard-library module costs
tens of milliseconds of boot time, so no dataclasses, enum, typing, json or re here.
"""
