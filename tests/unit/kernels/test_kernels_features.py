# SPDX-License-Identifier: GPL-2.0-only
"""Features read from a vmlinux: present, absent and unknown are three different answers."""

import gzip
from types import SimpleNamespace

import pytest

from ktstr.kernels import KernelFeatures
from ktstr.kernels.features import (
    embedded_config,
    parse_config,
    read_features,
    unknown_features,
    valid_release,
)


def test_everything_present(build: SimpleNamespace) -> None:
    found = read_features(build.elf(), compression="xz")
    assert found.release == build.release
    assert found.build_id == "000102030405060708090a0b0c0d0e0f10111213"
    assert (found.sched_ext, found.btf, found.pvh) == (True, True, True)
    assert (found.virtio_console, found.virtio_pci, found.pvpanic) == (True, True, True)
    assert found.compression == "xz"
    assert found.reasons == ()
    assert found.why_not("pvh") is None


def test_absent_is_false_with_the_option_to_set(build: SimpleNamespace) -> None:
    found = read_features(build.elf(names=["schedule"], pvh=False))
    assert (found.sched_ext, found.pvh, found.virtio_console) == (False, False, False)
    assert "CONFIG_SCHED_CLASS_EXT" in (found.why_not("sched_ext") or "")
    assert "CONFIG_PVH" in (found.why_not("pvh") or "")
    assert "CONFIG_PVPANIC_PCI" in (found.why_not("pvpanic") or "")


def test_btf_without_the_control_function_proves_nothing(build: SimpleNamespace) -> None:
    found = read_features(build.elf(names=["something"]))
    assert found.btf is True
    assert found.sched_ext is None
    assert found.virtio_pci is None
    assert "unknown" in (found.why_not("virtio_pci") or "")


def test_half_of_the_sched_ext_types_proves_nothing(build: SimpleNamespace) -> None:
    assert read_features(build.elf(names=["schedule", "sched_ext_ops"])).sched_ext is None


def test_driver_name_without_its_function_is_unknown(build: SimpleNamespace) -> None:
    found = read_features(build.elf(names=build.scx, rodata=b"\0virtio_console\0"))
    assert found.virtio_console is None
    assert found.virtio_pci is False


def test_part_of_a_name_does_not_count(build: SimpleNamespace) -> None:
    names = ["schedule", "not_sched_ext_ops", "sched_ext_ops_x", "xvirtcons_probe"]
    found = read_features(build.elf(names=names))
    assert (found.sched_ext, found.virtio_console) == (False, False)


def test_no_btf_means_no_sched_ext(build: SimpleNamespace) -> None:
    found = read_features(build.elf(names=None))
    assert (found.btf, found.sched_ext) == (False, False)
    assert found.virtio_console is None


def test_no_sections_means_unknown(build: SimpleNamespace) -> None:
    found = read_features(build.elf(sections=False))
    assert (found.btf, found.sched_ext, found.pvh) == (None, None, True)


def test_configuration_answers_what_the_image_does_not(build: SimpleNamespace) -> None:
    config = "CONFIG_VIRTIO_CONSOLE=y\nCONFIG_VIRTIO_PCI=m\n# CONFIG_PVPANIC_PCI is not set\n"
    found = read_features(build.elf(names=None), config=config)
    assert (found.virtio_console, found.virtio_pci, found.pvpanic) == (True, False, False)
    assert "module" in (found.why_not("virtio_pci") or "")


def test_the_image_outranks_the_configuration(build: SimpleNamespace) -> None:
    config = "CONFIG_SCHED_CLASS_EXT=y\nCONFIG_PVH=y\n"
    found = read_features(build.elf(names=["schedule"], pvh=False), config=config)
    assert (found.sched_ext, found.pvh) == (False, False)


def test_embedded_configuration_is_read(build: SimpleNamespace) -> None:
    text = b"CONFIG_VIRTIO_PCI=y\n"
    blob = b"IKCFG_ST" + gzip.compress(text) + b"IKCFG_ED"
    assert embedded_config(b"before" + blob + b"after") == text.decode()
    assert read_features(build.elf(names=None, rodata=blob)).virtio_pci is True
    assert embedded_config(b"IKCFG_ST\x1f\x8bbroken") is None
    assert embedded_config(b"nothing") is None


def test_parse_config() -> None:
    text = '# CONFIG_A is not set\nCONFIG_B=m\nCONFIG_C="text"\n# a comment\nCONFIG_D=y\n'
    assert parse_config(text) == {
        "CONFIG_A": "n",
        "CONFIG_B": "m",
        "CONFIG_C": '"text"',
        "CONFIG_D": "y",
    }


@pytest.mark.parametrize("text", ["../../etc", "7.1/..", "", None, "7.", "x7.1", "7.1 8", "7.1\n"])
def test_release_that_is_no_release(text: str | None) -> None:
    assert valid_release(text) is None


def test_release_from_the_header_wins_and_a_bad_one_is_replaced(build: SimpleNamespace) -> None:
    assert read_features(build.elf(), release="6.1.0-rc3").release == "6.1.0-rc3"
    assert read_features(build.elf(), release="../x").release == build.release
    assert read_features(build.elf(release=None)).release is None


def test_round_trip_and_bad_values(build: SimpleNamespace) -> None:
    found = read_features(build.elf(names=["schedule"]))
    assert KernelFeatures.from_dict(found.to_dict()) == found
    with pytest.raises(ValueError, match="sched_ext"):
        KernelFeatures.from_dict({**found.to_dict(), "sched_ext": "yes"})
    with pytest.raises(ValueError, match="pvh"):
        KernelFeatures.from_dict({k: v for k, v in found.to_dict().items() if k != "pvh"})


def test_unknown_features_and_unknown_names() -> None:
    found = unknown_features("7.1.2", "the payload is odd")
    assert found.sched_ext is None and found.release == "7.1.2"
    assert found.why_not("btf") == "btf is unknown: the payload is odd"
    with pytest.raises(ValueError, match="unknown kernel feature 'kvm'"):
        found.why_not("kvm")
