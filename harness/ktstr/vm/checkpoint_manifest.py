# SPDX-License-Identifier: GPL-2.0-only
"""What a checkpoint says about itself: the machine it is of, and the moment it was taken.

A checkpoint may come from anybody. So it names the machine by the few numbers that shape one, each
checked, and never by words for QEMU's command line.
"""

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ktstr.errors import CheckpointUnusable, HostUnfit
from ktstr.model.topology import Topology
from ktstr.vm.accel import Accelerator
from ktstr.vm.ram import MIB, Segment, q35_segments
from ktstr.vm.spec import VirtualClock, VmSpec

MAX_MEMORY_MIB: Final = 1 << 24
MAX_NODES: Final = 1024
MAX_FIRMWARE: Final = 16 << 20
MAX_NOTE: Final = 64 << 10

_Text = Annotated[str, Field(max_length=4096)]
_Size = Annotated[int, Field(ge=0, le=MAX_MEMORY_MIB)]
_Per_node = Annotated[tuple[_Size, ...], Field(max_length=MAX_NODES)]
_Distances = Annotated[
    tuple[Annotated[tuple[Annotated[int, Field(ge=0, le=255)], ...], Field(max_length=256)], ...],
    Field(max_length=256),
]


class _Plain(BaseModel):
    """Strict about what it knows; what a later version adds is left alone."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class MachineShape(_Plain):
    """The machine: all that QEMU has to be told alike for it to take the devices' state.

    :ivar firmware_bytes: size of the firmware file; ``None`` for QEMU's own choice. What is in it
        does not matter: the machine has its own copy.
    """

    topology: Topology
    accelerator: Literal["kvm", "tcg"]
    memory_mib: Annotated[int, Field(ge=1, le=MAX_MEMORY_MIB)]
    node_memory_mib: _Per_node | None = None
    node_distances: _Distances | None = None
    scratch_mib: _Size = 0
    pvpanic: bool = True
    one_thread: bool = False
    virtual: VirtualClock | None = None
    firmware_bytes: Annotated[int, Field(ge=1, le=MAX_FIRMWARE)] | None = None

    @model_validator(mode="after")
    def _few_nodes(self) -> Self:
        if self.topology.nodes > MAX_NODES:
            raise ValueError(f"{self.topology.nodes} NUMA nodes; at most {MAX_NODES} can be")
        return self

    @classmethod
    def of(cls, spec: VmSpec, firmware_bytes: int | None) -> Self:
        """The shape of a machine that runs."""
        return cls(
            topology=spec.topology,
            accelerator=spec.accel.name,
            memory_mib=spec.memory_mib,
            node_memory_mib=spec.node_memory_mib,
            node_distances=spec.node_distances,
            scratch_mib=spec.scratch_mib,
            pvpanic=spec.pvpanic,
            one_thread=spec.one_thread,
            virtual=spec.virtual,
            firmware_bytes=firmware_bytes,
        )

    def spec(self) -> VmSpec:
        """A machine of this shape that boots nothing.

        :raises HostUnfit: when the memory does not fit the topology.
        """
        spec = VmSpec(
            kernel=None,
            initrd=None,
            topology=self.topology,
            accel=Accelerator(self.accelerator, "the checkpoint was taken under it"),
            memory_mib=self.memory_mib,
            node_memory_mib=self.node_memory_mib,
            node_distances=self.node_distances,
            scratch_mib=self.scratch_mib,
            pvpanic=self.pvpanic,
            one_thread=self.one_thread,
            virtual=self.virtual,
        )
        spec.memory_of_nodes()
        return spec

    def segments(self) -> tuple[Segment, ...]:
        """Where the machine's RAM is.

        :raises HostUnfit: as :meth:`spec`.
        """
        return q35_segments([mib * MIB for mib in self.spec().memory_of_nodes()])


class QemuVersion(_Plain):
    """A QEMU: ``number`` is ``7.2.22``, ``package`` what its packager adds."""

    number: _Text
    package: _Text = ""

    def __str__(self) -> str:
        return f"{self.number} ({self.package})" if self.package else self.number


class KernelFacts(_Plain):
    """The guest's kernel: how it was asked for, and what tells it from any other."""

    spec: _Text = ""
    release: _Text = ""
    build_id: _Text = ""
    digest: _Text = ""


class Manifest(_Plain):
    """One checkpoint.

    :ivar moment: when in the run it was taken, in words: ``end of step 2``.
    :ivar reason: why the run did not pass, when it is known.
    :ivar elapsed_ms: workload time.
    :ivar vmcoreinfo: guest-physical address and size of the kernel's note, when the guest has told.
    :ivar cpu: the host's CPU, on which a guest under KVM depends.
    :ivar stateless: why there is no state of the devices, without which it cannot be resumed.
    """

    scenario: _Text
    run_id: _Text
    moment: _Text
    reason: _Text = ""
    step: Annotated[int, Field(ge=0, le=1 << 16)] = 0
    elapsed_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    taken_at: _Text = ""
    scheduler_comm: _Text | None = None
    image_digest: _Text = ""
    kernel: KernelFacts
    vmcoreinfo: (
        tuple[
            Annotated[int, Field(ge=0, lt=1 << 52)],
            Annotated[int, Field(ge=0, le=MAX_NOTE)],
        ]
        | None
    ) = None
    qemu: QemuVersion
    cpu: _Text = ""
    machine: MachineShape
    stateless: _Text | None = None

    def to_bytes(self) -> bytes:
        """As JSON."""
        return self.model_dump_json(indent=1).encode()

    @classmethod
    def from_bytes(cls, data: bytes, name: Path) -> Self:
        """Read and check what :meth:`to_bytes` gave.

        :param name: the checkpoint, for the error.
        :raises CheckpointUnusable: listing every value that is wrong.
        """
        try:
            found = cls.model_validate_json(data)
            found.machine.segments()
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
                for problem in error.errors(include_url=False, include_input=False)[:8]
            )
            raise CheckpointUnusable(f"{name}: what it says about itself is wrong: {wrong}") from (
                None
            )
        except HostUnfit as error:
            raise CheckpointUnusable(f"{name} is of no machine: {error.message}") from None
        return found
