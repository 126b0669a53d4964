# SPDX-License-Identifier: GPL-2.0-only
"""Op names and their bit in the stimulus frames' ``op_kinds`` mask.

Shared with the guest, so nothing is imported here. 0 to 12 are the reference's numbers; from 13 on
stand ops that the reference added later, whose numbers are not known; ktstr's own count down from
31. An op that a scenario may name has a class in ``ktstr.model.op_models``.
"""

OP_INDEX: dict[str, int] = {
    "AddCgroup": 0,
    "RemoveCgroup": 1,
    "SetCpuset": 2,
    "ClearCpuset": 3,
    "SwapCpusets": 4,
    "Spawn": 5,
    "StopCgroup": 6,
    "SetAffinity": 7,
    "SpawnHost": 8,
    "MoveAllTasks": 9,
    "RunPayload": 10,
    "WaitPayload": 11,
    "KillPayload": 12,
    "AddCgroupDef": 13,
    "FreezeCgroup": 14,
    "UnfreezeCgroup": 15,
    "AttachScheduler": 16,
    "DetachScheduler": 17,
    "ReplaceScheduler": 18,
    "RestartScheduler": 19,
    "CaptureSnapshot": 20,
    "WriteBpfGlobal": 21,
    "WatchSnapshot": 22,
    "SetWeight": 28,
    "Pause": 29,
    "Resume": 30,
    "InjectFault": 31,
}
"""Bit of each op in the ``u32`` mask; every value is unique and below 32."""

_NAMES = {index: name for name, index in OP_INDEX.items()}


def op_names(mask: int) -> tuple[str, ...]:
    """Names of the ops in a mask, lowest bit first; an unknown bit reads ``op<bit>``."""
    return tuple(_NAMES.get(bit, f"op{bit}") for bit in range(32) if mask >> bit & 1)
