"""Floating-point operations as they are counted everywhere: those of the formula, a multiply-add as two."""

from contextlib import ExitStack
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from deeprob.layers import formulas


class FlopCounter(FlopCounterMode):
    """Counts, inside, the FLOPs of every operation; all products are torch's meanwhile."""

    def __init__(self) -> None:
        super().__init__(display=False, custom_mapping=UNCOUNTED_FLOPS)
        self._stack = ExitStack()

    def __enter__(self) -> "FlopCounter":
        self._stack.enter_context(formulas(products_only=True))
        super().__enter__()  # type: ignore[no-untyped-call]
        self.mode.passes_over_loops = True  # type: ignore[union-attr]  # what is left to them has no products
        return self

    def __exit__(self, *exception: Any) -> Any:
        self._stack.close()
        return super().__exit__(*exception)  # type: ignore[no-untyped-call]


def _linear_flops(x: Any, weight: Any, *_: Any, out_val: Any = None, **__: Any) -> int:
    rows, inputs, outputs = x.numel() // x.shape[-1], weight.shape[1], weight.shape[0]
    return int(2 * rows * inputs * outputs)


def _addmm_flops(_: Any, a_shape: Any, b_shape: Any, *__: Any, **___: Any) -> int:
    return int(2 * a_shape[0] * a_shape[1] * b_shape[1])


def _attention_flops(q: Any, k: Any, v: Any, *_: Any, **__: Any) -> int:
    samples, heads, num_queries, size = q
    return int(2 * samples * heads * num_queries * k[2] * (size + v[3]))


def _attention_backward_flops(_: Any, q: Any, k: Any, v: Any, *__: Any, **___: Any) -> int:
    samples, heads, num_queries, size = q
    return int(2 * samples * heads * num_queries * k[2] * (3 * size + 2 * v[3]))


UNCOUNTED_FLOPS: dict[Any, Any] = {
    torch.ops.aten.addmm_: _addmm_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward_flops,
}
if hasattr(torch.ops.mkldnn, "_linear_pointwise"):
    _linear_flops._get_raw = True  # type: ignore[attr-defined]
    UNCOUNTED_FLOPS[torch.ops.mkldnn._linear_pointwise] = _linear_flops
