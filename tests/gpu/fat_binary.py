"""Which GPUs a program has code for, read from the section .nv_fatbin of its file: cuobjdump says the same, but not every machine has it.

A fat binary is a header (magic, version, header's size, size of what follows) and entries (kind, -, header's size, size; at 28 the
architecture), 1 is PTX and 2 is machine code.
"""
import struct

MAGIC = 0xBA55ED50
KINDS = {1: "compute", 2: "sm"}


def section(elf, wanted):
    """The bytes of a section of a little-endian 64-bit ELF file; empty where it is not there."""
    assert elf[:6] == b"\x7fELF\x02\x01", "no little-endian 64-bit ELF file"
    offset, = struct.unpack_from("<Q", elf, 40)
    size, count, names = struct.unpack_from("<HHH", elf, 58)
    headers = [struct.unpack_from("<IIQQQQ", elf, offset + i * size) for i in range(count)]
    for name, _, _, _, at, length in headers:
        begin = headers[names][4] + name
        if elf[begin : elf.index(b"\0", begin)] == wanted:
            return elf[at : at + length]
    return b""


def architectures(elf):
    """As {"sm_80", "sm_90", "compute_90"}, of all fat binaries in a program."""
    data, at, found = section(elf, b".nv_fatbin"), 0, set()
    while at + 16 <= len(data):
        magic, _, header, length = struct.unpack_from("<IHHQ", data, at)
        if magic != MAGIC:  # padding
            at += 8
            continue
        entry, end = at + header, at + header + length
        while entry + 32 <= end:
            kind, _, own, size = struct.unpack_from("<HHIQ", data, entry)
            architecture, = struct.unpack_from("<I", data, entry + 28)
            found.add(f"{KINDS.get(kind, kind)}_{architecture}")
            entry += own + size
        at = end
    return found
