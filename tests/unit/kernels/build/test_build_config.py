# SPDX-License-Identifier: GPL-2.0-only
"""Fragments, Kconfig's expressions and files, and what is said of an option that was lost."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ktstr.errors import KernelUnfit
from ktstr.kernels.build.explain import explain
from ktstr.kernels.build.fragments import (
    Fragment,
    Lost,
    fragments_folder,
    known_fragments,
    load_fragments,
    lost_options,
    merged,
    parse_fragment,
    render,
    split_spec,
)
from ktstr.kernels.build.kconfig import Kconfig
from ktstr.kernels.build.kconfig_expr import ExpressionError, level, parse_expression, unmet


def test_fragment_lines() -> None:
    text = (
        "# a comment\n\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=0x10\n"
        'CONFIG_D="two words"\nCONFIG_E=-5\n  CONFIG_F=m\n# CONFIG_A is not set\n'
    )
    options = parse_fragment("test", text).options
    assert dict(options) == {
        "B": "n", "C": "0x10", "D": '"two words"', "E": "-5", "F": "m", "A": "n"
    }  # fmt: skip
    assert list(options)[-1] == "A", "said again, it counts from there"


@pytest.mark.parametrize("line", ["CONFIG_A = y", "A=y", "CONFIG_A=yes", "CONFIG_A=y # why", "x"])
def test_lines_that_are_none(line: str) -> None:
    with pytest.raises(KernelUnfit, match=r"test, line 2: .* is no line of a kernel config"):
        parse_fragment("test", f"# fine\n{line}\n")


def test_later_fragments_are_right() -> None:
    first = Fragment("one", {"A": "y", "B": "y"})
    second = Fragment("two", {"B": "n", "C": "4"})
    assert merged([first, second]) == {"A": "y", "B": "n", "C": "4"}
    assert render({"A": "y", "B": "n"}) == "CONFIG_A=y\n# CONFIG_B is not set\n"


def test_what_was_lost() -> None:
    wanted = Fragment("one", {"A": "y", "B": "n", "C": "n", "D": "0xFF", "E": '"x"', "F": "m"})
    again = Fragment("two", {"A": "y"})
    result = {"A": "m", "B": "y", "D": "0xff", "E": '"x"'}
    assert lost_options([wanted, again], result) == [
        Lost("A", "y", "m", "two"),
        Lost("B", "n", "y", "one"),
        Lost("F", "m", "n", "one"),
    ]


def test_ktstrs_own_fragments() -> None:
    assert known_fragments()[0] == "base"
    for name in known_fragments():
        assert load_fragments([name])[-1].options, name
    assert (fragments_folder() / "base.config").is_file()


def test_base_comes_first(fragments: Path, tmp_path: Path) -> None:
    assert [f.name for f in load_fragments(["numa"])] == ["base", "numa"]
    assert [f.name for f in load_fragments(["numa", "base", "numa"])] == ["base", "numa"]
    mine = tmp_path / "my.config"
    mine.write_text("CONFIG_HZ=100\n")
    assert load_fragments([str(mine)])[1].options == {"HZ": "100"}
    with pytest.raises(KernelUnfit, match="no kernel configuration 'numb'") as caught:
        load_fragments(["numb"])
    assert caught.value.hint == "one of base, numa, or a file such as ./my.config"
    mine.write_bytes(b"\xff\xfe")
    with pytest.raises(KernelUnfit, match="UTF-8"):
        load_fragments([str(mine)])


def test_fragments_in_a_specification(fragments: Path) -> None:
    assert split_spec("debian-source:6.12") == ("debian-source:6.12", ())
    assert split_spec("debian-source:6.12+numa") == ("debian-source:6.12", ("numa",))
    assert split_spec("path:/a+b/c+numa+base") == ("path:/a+b/c", ("numa", "base"))
    assert split_spec("path:/numa+c") == ("path:/numa+c", ())


CONFIG = {"A": "y", "M": "m", "S": '"text"', "N": "12", "H": "0x20"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A", 2), ("M", 1), ("Z", 0), ("!A", 0), ("!M", 1), ("!Z", 2), ("y", 2), ("m", 1),
        ("A && M", 1), ("A || Z", 2), ("Z || M && A", 1), ("(Z || M) && Z", 0), ("!(A && Z)", 2),
        ("A = y", 2), ("A != y", 0), ("M = m", 2), ("Z = n", 2), ("S = text", 2), ('S="text"', 2),
        ("S = other", 0), ("N > 9", 2), ("N < 9", 0), ("N>=12", 2), ("N <= 11", 0), ("H = 32", 2),
        ("S", 0), ("$(cc-option,-mfoo)", 2), ("!$(success,test a = b)", 2), ("A&&!Z", 2),
        ('"$(ARCH)" = "x"', 2), ("A=M", 0),
    ],
)  # fmt: skip
def test_expressions(text: str, value: int) -> None:
    assert level(parse_expression(text), CONFIG) == value


@pytest.mark.parametrize("text", ["", "&&", "A &&", "(A", "A)", "A B", "$(x", "A = ", "A & B"])
def test_no_expressions(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse_expression(text)


def test_what_is_not_met() -> None:
    parts = unmet(parse_expression("A && Z && (Y || X) && !A"), CONFIG)
    assert [str(part) for part in parts] == ["Z", "Y || X", "!A"]
    assert unmet(parse_expression("M && A"), CONFIG, 1) == []
    assert [str(part) for part in unmet(parse_expression("M && A"), CONFIG, 2)] == ["M"]
    text = 'A && (B || !C) && D = "x y" && !(E && F)'
    assert str(parse_expression(text)) == text


KCONFIG = r"""mainmenu "x"
config MODULES
    bool "Loadable modules"
    modules
config NET
    bool "Networking"
    select CRC if INET || \
        VLAN
    help
      Says:
        config NOT_ONE
      depends on nothing # at all

      config NEITHER
config CRC
    bool
config VLAN
    bool "Tags" if EXPERT
    depends on NET
config EXPERT
    bool "All of it"
config DERIVED
    def_bool NET && CRC
menu "Storage"
    depends on BLOCK
    visible if EXPERT
config SCSI
    tristate "SCSI"
config HIDDEN_THERE
    bool "Hidden"
endmenu
if NET
comment "only with it"
    depends on CRC
config INET
    bool "IP"
    depends on !BLOCK
source "net/$(SRCARCH)/Kconfig"
source "net/absent/Kconfig"
endif
choice
    prompt "How"
    depends on NET
config HOW_A
    bool "a"
config HOW_B
    bool "b"
endchoice
config COUNT
    int "How many"
    range 1 64
config LAST # a comment
    bool "Last"
    depends on VLAN if NET
config TWICE
    bool "one"
    depends on SCSI
config TWICE
    bool "two"
    depends on EXPERT
""".replace("    ", "\t")


@pytest.fixture
def kconfig(tmp_path: Path) -> Kconfig:
    (tmp_path / "net/x86").mkdir(parents=True)
    (tmp_path / "Kconfig").write_text(KCONFIG)
    (tmp_path / "net/x86/Kconfig").write_text("if CRC\nconfig DEEP\n\tbool 'deep'\n")
    return Kconfig(tmp_path)


def test_files_are_read(kconfig: Kconfig) -> None:
    assert "NOT_ONE" not in kconfig.definitions and "NEITHER" not in kconfig.definitions
    (deep,) = kconfig.definitions["DEEP"]
    assert [str(d) for d in deep.depends] == ["NET", "CRC"] and deep.where == "net/x86/Kconfig:2"
    (count,) = kconfig.definitions["COUNT"]
    assert count.depends == [], "a block that the file left open ends with it"
    assert [str(d) for d in kconfig.definitions["SCSI"][0].depends] == ["BLOCK"]
    assert [str(d) for d in kconfig.definitions["INET"][0].depends] == ["NET", "!BLOCK"]
    assert [(d.name, str(c)) for d, c in kconfig.selectors("CRC")] == [("NET", "INET || VLAN")]


@pytest.mark.parametrize(
    ("name", "wanted", "config", "why"),
    [
        ("INET", "y", {}, "it depends on NET, which is not set (Kconfig:35)"),
        ("INET", "y", {"NET": "y", "BLOCK": "y"}, "it depends on !BLOCK, but BLOCK is y"),
        ("DEEP", "y", {"NET": "m"}, "NET, which is a module, and CRC, which is not set"),
        ("CRC", "y", {}, "it cannot be set by hand, only by NET (Kconfig:15)"),
        ("DERIVED", "y", {}, "it cannot be set by hand (Kconfig:22)"),
        ("VLAN", "y", {"NET": "y"}, "it can be set only with EXPERT, which is not set"),
        ("HIDDEN_THERE", "y", {"BLOCK": "y"}, "it can be set only with EXPERT"),
        ("HOW_A", "y", {"NET": "y", "HOW_B": "y"}, "of that choice HOW_B is set"),
        ("COUNT", "100", {"COUNT": "64"}, "does not fit its type or range"),
        ("CRC", "n", {"CRC": "y", "NET": "y", "INET": "y"}, "it is selected by NET"),
        ("DERIVED", "n", {"DERIVED": "y"}, "it has no prompt, so it follows its default"),
        ("LAST", "y", {"NET": "y"}, "(VLAN || !NET) where VLAN is not set, NET is y"),
        ("INEX", "y", {}, "this kernel has no such option"),
        ("MODULE", "y", {}, "this kernel has no such option; it has MODULES"),
        ("TWICE", "y", {}, "(Kconfig:55) or it depends on EXPERT, which is not set (Kconfig:58)"),
    ],
)
def test_why(kconfig: Kconfig, name: str, wanted: str, config: dict[str, str], why: str) -> None:
    lost = Lost(name, wanted, config.get(name, "n"), "mine")
    told = explain(lost, kconfig, config)
    assert why in told
    asked = f"# CONFIG_{name} is not set" if wanted == "n" else f"CONFIG_{name}={wanted}"
    assert told.startswith(f"{asked} (of mine) became {lost.got}: ")


def test_a_condition_on_a_dependency(kconfig: Kconfig) -> None:
    (last,) = kconfig.definitions["LAST"]
    assert unmet(last.depends[0], {"NET": "n"}) == []


def test_hostile_files(tmp_path: Path) -> None:
    (tmp_path / "Kconfig").write_text(
        "config A\n\tdepends on ((\n" + 3 * 'source "Kconfig"\n' + "endmenu\nif\n"
    )
    assert "A" in Kconfig(tmp_path).definitions, "a file that names itself comes to an end"


def test_fake_tree(make_tree: Callable[..., Path]) -> None:
    assert set(Kconfig(make_tree()).definitions) == {"64BIT", "SMP", "NUMA"}
