"""A tile of a matrix product in the processor's registers: instructions for the loops of product.py.

    C (R, P) = S + A (R, K) B (K, P)        R <= ROWS, P = PANEL

The sums of a tile are twelve vectors, which stay in registers while k runs: a step loads a line of B, sends
each of R numbers of A to all places of a vector, and multiplies and adds twelve times. So both multipliers of
a core are busy, where a compiled loop in Python would store its sums after every step. The instructions are
LLVM's, so the same text serves vectors of 8, 16 or (two by two) 4 numbers.
Source: Goto and van de Geijn, Anatomy of high-performance matrix multiplication (2008), section 4.
"""

from collections.abc import Callable
from functools import cached_property
from inspect import Parameter, Signature
from typing import Any

import torch

PANEL = 16  # columns of a tile: 64 bytes, a line of the cache
LANES = 16 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 8  # numbers of a vector
VECTORS = PANEL // LANES  # of a line
ROWS = 12 // VECTORS  # of a tile: twelve sums hide that each has to wait for its last step
SIZE = 4  # bytes of a number


class Instruction:
    """A function of whole numbers, addresses among them, written in LLVM's instructions; loops can call it.

    build(builder, *numbers) appends them, when a loop is compiled that calls it.
    """

    def __init__(self, build: Callable[..., None]) -> None:
        self.build = build

    def __call__(self, *numbers: int) -> None:
        """Refuse: only compiled loops can call it."""
        raise TypeError(f"{self.build.__name__}: expected a compiled loop as its caller, got Python")

    @cached_property
    def compiled(self) -> Any:
        """What numba's loops call."""
        from llvmlite import ir
        from numba import types
        from numba.extending import intrinsic

        build, count = self.build, self.build.__code__.co_argcount - 1
        name = f"deeprob.{build.__name__}"

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            function = builder.module.globals.get(name)
            if function is None:
                kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * count)
                function = ir.Function(builder.module, kind, name)
                function.linkage = "internal"
                function.attributes.add("noinline")  # its code is long, and called from many places
                inside = ir.IRBuilder(function.append_basic_block())
                build(inside, *function.args)
                inside.ret_void()
            builder.call(function, arguments)
            return context.get_dummy_value()

        def typed(context: Any, *arguments: Any) -> Any:
            return types.void(*[types.int64] * count), generate

        named = [Parameter(f"word{n}", Parameter.POSITIONAL_ONLY) for n in range(count + 1)]
        typed.__signature__ = Signature(named)  # type: ignore[attr-defined]  # numba wants as many as there are
        return intrinsic(typed)


class Vectors:
    """The kinds of values that tiles are made of, and what is done with them by a builder of LLVM's."""

    def __init__(self, builder: Any) -> None:
        from llvmlite import ir

        self.ir, self.builder = ir, builder
        self.index, self.number = ir.IntType(64), ir.FloatType()
        self.vector = ir.VectorType(self.number, LANES)

    def place(self, address: Any, offset: Any, kind: Any) -> Any:
        """Return where something lies, `offset` bytes from an address."""
        offset = self.index(offset) if isinstance(offset, int) else offset
        return self.builder.inttoptr(self.builder.add(address, offset), kind.as_pointer())

    def load(self, address: Any, offset: Any) -> Any:
        return self.builder.load(self.place(address, offset, self.vector), align=SIZE)

    def store(self, value: Any, address: Any, offset: Any) -> None:
        self.builder.store(value, self.place(address, offset, self.vector), align=SIZE)

    def everywhere(self, address: Any, offset: Any) -> Any:
        """Load a number to all places of a vector."""
        number = self.builder.load(self.place(address, offset, self.number))
        one = self.builder.insert_element(self.nothing, number, self.ir.IntType(32)(0))
        return self.shuffle(one, self.nothing, [0] * LANES)

    def shuffle(self, one: Any, other: Any, places: list[int]) -> Any:
        """Return the numbers of one at these places; from LANES on, of the other."""
        chosen = self.ir.Constant(self.ir.VectorType(self.ir.IntType(32), LANES), places)
        return self.builder.shuffle_vector(one, other, chosen)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """Return a b + c."""
        module, name = self.builder.module, f"llvm.fmuladd.v{LANES}f32"
        function = module.globals.get(name)
        if function is None:
            function = self.ir.Function(module, self.ir.FunctionType(self.vector, [self.vector] * 3), name)
        return self.builder.call(function, [a, b, c])

    @property
    def nothing(self) -> Any:
        return self.ir.Constant(self.vector, self.ir.Undefined)

    @property
    def zeros(self) -> Any:
        return self.ir.Constant(self.vector, [0.0] * LANES)


@Instruction
def tile(
    builder: Any,
    a: Any,
    a_row: Any,
    a_step: Any,
    panel: Any,
    first: Any,
    c: Any,
    c_row: Any,
    depth: Any,
    rows: Any,
) -> None:
    """C = S + A B, depth >= 1 steps; S: zeros where first is 0, else what is in C. Steps are in bytes.

    a_row, a_step: of A from row to row and from k to k. panel: B, its lines one after another.
    """
    index = Vectors(builder).index
    end = builder.append_basic_block("end")
    switch = builder.switch(rows, end)
    for count in range(1, ROWS + 1):
        block = builder.append_basic_block(f"rows{count}")
        switch.add_case(index(count), block)
        builder.position_at_end(block)
        tile_of(count, builder, a, a_row, a_step, panel, first, c, c_row, depth)
        builder.branch(end)
    builder.position_at_end(end)


def tile_of(
    rows: int, b: Any, a: Any, a_row: Any, a_step: Any, panel: Any, first: Any, c: Any, c_row: Any, depth: Any
) -> None:
    """Append the instructions for a tile of so many rows."""
    v = Vectors(b)
    places = [(i, j) for i in range(rows) for j in range(VECTORS)]
    offsets = [b.add(b.mul(c_row, v.index(i)), v.index(LANES * SIZE * j)) for i, j in places]
    a_rows = [b.mul(a_row, v.index(i)) for i in range(rows)]
    start, given, loop, end = b.block, *(b.append_basic_block(name) for name in ("given", "loop", "end"))
    b.cbranch(b.icmp_signed("!=", first, v.index(0)), given, loop)

    b.position_at_end(given)
    stored = [v.load(c, offset) for offset in offsets]
    b.branch(loop)

    b.position_at_end(loop)
    k, at_a, at_b = (b.phi(v.index) for _ in range(3))
    sums = [b.phi(v.vector) for _ in places]
    line = [v.load(at_b, LANES * SIZE * j) for j in range(VECTORS)]
    numbers = [v.everywhere(at_a, offset) for offset in a_rows]
    added = [v.multiply_add(numbers[i], line[j], total) for (i, j), total in zip(places, sums, strict=True)]
    moved = [b.add(k, v.index(1)), b.add(at_a, a_step), b.add(at_b, v.index(PANEL * SIZE)), *added]
    for before, values in ((start, [v.zeros] * len(places)), (given, stored)):
        for phi, value in zip([k, at_a, at_b, *sums], [v.index(0), a, panel, *values], strict=True):
            phi.add_incoming(value, before)
    for phi, value in zip([k, at_a, at_b, *sums], moved, strict=True):
        phi.add_incoming(value, loop)
    b.cbranch(b.icmp_signed("<", moved[0], depth), loop, end)

    b.position_at_end(end)
    for offset, value in zip(offsets, added, strict=True):
        v.store(value, c, offset)


@Instruction
def copy_lines(
    b: Any, source: Any, source_row: Any, target: Any, target_row: Any, count: Any, size: Any
) -> None:
    """Copy count >= 1 lines of size >= 1 numbers; rows are so many bytes apart.

    Whole vectors are copied: up to LANES - 1 numbers behind a line are read, and written over with them.
    """
    v = Vectors(b)
    beyond = b.mul(size, v.index(SIZE))
    start, line, inside, next_line, end = (
        b.block,
        *(b.append_basic_block(name) for name in ("line", "inside", "next", "end")),
    )
    b.branch(line)

    b.position_at_end(line)
    phis = k, here, there = [b.phi(v.index) for _ in range(3)]
    b.branch(inside)

    b.position_at_end(inside)
    offset = b.phi(v.index)
    v.store(v.load(here, offset), there, offset)
    following = b.add(offset, v.index(LANES * SIZE))
    offset.add_incoming(v.index(0), line)
    offset.add_incoming(following, inside)
    b.cbranch(b.icmp_signed("<", following, beyond), inside, next_line)

    b.position_at_end(next_line)
    moved = b.add(k, v.index(1)), b.add(here, source_row), b.add(there, target_row)
    for phi, first, value in zip(phis, (v.index(0), source, target), moved, strict=True):
        phi.add_incoming(first, start)
        phi.add_incoming(value, next_line)
    b.cbranch(b.icmp_signed("<", moved[0], count), line, end)
    b.position_at_end(end)


@Instruction
def turn(b: Any, source: Any, source_row: Any, target: Any, target_row: Any) -> None:
    """Write a square of LANES rows and columns turned around; its rows are so many bytes apart."""
    v = Vectors(b)
    rows = [v.load(source, b.mul(source_row, v.index(i))) for i in range(LANES)]
    side = 1
    while side < LANES:  # exchange squares of this side across the diagonal
        keeps = [n + LANES - side if n & side else n for n in range(LANES)]
        gives = [n + LANES if n & side else n + side for n in range(LANES)]
        for i in range(LANES):
            if not i & side:
                pair = rows[i], rows[i + side]
                rows[i], rows[i + side] = v.shuffle(*pair, keeps), v.shuffle(*pair, gives)
        side *= 2
    for i, row in enumerate(rows):
        v.store(row, target, b.mul(target_row, v.index(i)))
