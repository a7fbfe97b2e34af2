"""Mathematics for loops: functions that the compiler applies to several numbers at once.

A call of the C library takes one number at a time. These are made of additions, multiplications
and shifts only, so a loop around them becomes instructions on eight or sixteen numbers. Each takes
its argument apart as 2ⁿ·m with a small remainder, for which a polynomial is exact to the last digit
or two; what stands at the ends (∞, nan, 0, numbers too small for a leading 1) is chosen, not
branched to.

Only generated code imports this file, and products.py. No sum in it may be put in another order.

Source:  fdlibm (Sun Microsystems, 1993) for the logarithm's polynomials, Cephes (S. Moshier) for
         the exponential's
"""

from __future__ import annotations

from math import erf as erf  # of the C library
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

_exact = njit(fastmath={"contract"}, error_model="numpy", inline="never")
f, d, i32, i64 = np.float32, np.float64, np.int32, np.int64


def _extreme(name: str) -> Any:
    @intrinsic
    def extreme(context: Any, a: Any, b: Any) -> Any:
        """The larger or the smaller of two numbers of one kind, nan if one is nan."""

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = args[0].type
            if isinstance(kind, ir.IntType):
                sign = {"maximum": ">", "minimum": "<"}[name]
                compare = builder.icmp_signed if a.signed else builder.icmp_unsigned
                return builder.select(compare(sign, *args), *args)
            full = f"llvm.{name}.f{64 if isinstance(kind, ir.DoubleType) else 32}"
            function = ir.FunctionType(kind, [kind, kind])
            return builder.call(
                cgutils.get_or_insert_function(builder.module, function, full), args
            )

        return (
            (a(a, a), generate) if a == b and isinstance(a, (types.Float, types.Integer)) else None
        )

    return extreme


larger, smaller = _extreme("maximum"), _extreme("minimum")


@_exact
def _parts32(x: Any) -> Any:
    """n and eʳ − 1 with x = n log 2 + r; adding 1.5·2²³ rounds to a whole number."""
    c = x if x < f(89.0) else f(89.0)
    c = c if c > f(-104.0) else f(-104.0)
    t = f(c * f(1.4426950408889634) + f(12582912.0))
    n = f(t - f(12582912.0))
    r = f(f(c - n * f(0.693359375)) + n * f(2.12194440e-4))
    p = f(1.9875691500e-4)
    p = f(p * r + f(1.3981999507e-3))
    p = f(p * r + f(8.3334519073e-3))
    p = f(p * r + f(4.1665795894e-2))
    p = f(p * r + f(1.6666665459e-1))
    p = f(p * r + f(5.0000001201e-1))
    return i32(t.view(np.int32) - i32(0x4B400000)), f(p * f(r * r) + r)


@_exact
def _power32(n: Any) -> Any:
    """2ⁿ."""
    return i32(i32(n + i32(127)) << i32(23)).view(np.float32)


@_exact
def exp32(x: Any) -> Any:
    """eˣ, for float32."""
    n, y = _parts32(x)
    half = i32(n >> i32(1))
    result = f(f(f(y + f(1.0)) * _power32(half)) * _power32(i32(n - half)))
    return result if x == x else x


@_exact
def expm1_32(x: Any) -> Any:
    """eˣ − 1, for float32."""
    n, y = _parts32(x)
    half = i32(n >> i32(1))
    a, b = _power32(half), _power32(i32(n - half))
    result = f(f(f(y * a) * b) + f(f(a * b) - f(1.0))) if n < 127 else f(f(f(y + f(1.0)) * a) * b)
    return result if x == x else x


@_exact
def log32(x: Any) -> Any:
    """log x, for float32."""
    small = x < f(1.1754943508222875e-38)
    bits = i32(f(x * f(8388608.0) if small else x).view(np.int32) + i32(0x3F800000 - 0x3F3504F3))
    n = f(i32(bits >> i32(23)) - (i32(150) if small else i32(127)))
    m = i32(i32(bits & i32(0x007FFFFF)) + i32(0x3F3504F3)).view(np.float32)
    g = f(m - f(1.0))
    s = f(g / f(g + f(2.0)))
    z = f(s * s)
    p = f(0.24279078841)
    p = f(p * z + f(0.28498786688))
    p = f(p * z + f(0.40000972152))
    p = f(p * z + f(0.66666662693))
    h = f(f(0.5) * f(g * g))
    last = f(s * f(h + f(p * z)) + n * f(9.0580006145e-06))
    result = f(n * f(6.9313812256e-01) - f(f(h - last) - g))
    result = result if x > f(0.0) else (f(-np.inf) if x == f(0.0) else f(np.nan))
    return result if x < f(np.inf) else x


@_exact
def log1p32(x: Any) -> Any:
    """log(1 + x), for float32: the logarithm of the rounded sum, and what the rounding lost."""
    u = f(f(1.0) + x)
    result = f(log32(u) + f(f(x - f(u - f(1.0))) / u))
    return result if u > f(0.0) and u < f(np.inf) else log32(u)


@_exact
def tanh32(x: Any) -> Any:
    """tanh x, for float32."""
    e = expm1_32(f(f(-2.0) * abs(x)))
    y = f(-e / f(e + f(2.0)))
    return y if x >= f(0.0) else -y


@_exact
def _parts64(x: Any) -> Any:
    """n and eʳ − 1 with x = n log 2 + r; adding 1.5·2⁵² rounds to a whole number."""
    c = x if x < 710.0 else 710.0
    c = c if c > -746.0 else -746.0
    t = c * 1.4426950408889634 + 6755399441055744.0
    n = t - 6755399441055744.0
    r = c - n * 6.93145751953125e-1 - n * 1.42860682030941723212e-6
    p = 1.6059043836821613e-10
    p = p * r + 2.08767569878681e-09
    p = p * r + 2.505210838544172e-08
    p = p * r + 2.755731922398589e-07
    p = p * r + 2.7557319223985893e-06
    p = p * r + 2.48015873015873e-05
    p = p * r + 1.984126984126984e-04
    p = p * r + 1.388888888888889e-03
    p = p * r + 8.333333333333333e-03
    p = p * r + 4.1666666666666664e-02
    p = p * r + 1.6666666666666666e-01
    p = p * r + 0.5
    return d(t).view(np.int64) - i64(0x4338000000000000), p * (r * r) + r


@_exact
def _power64(n: Any) -> Any:
    """2ⁿ."""
    return i64((n + i64(1023)) << i64(52)).view(np.float64)


@_exact
def exp64(x: Any) -> Any:
    """eˣ, for float64."""
    n, y = _parts64(x)
    half = n >> i64(1)
    result = (y + 1.0) * _power64(half) * _power64(n - half)
    return result if x == x else x


@_exact
def expm1_64(x: Any) -> Any:
    """eˣ − 1, for float64."""
    n, y = _parts64(x)
    half = n >> i64(1)
    a, b = _power64(half), _power64(n - half)
    result = y * a * b + (a * b - 1.0) if n < 1023 else (y + 1.0) * a * b
    return result if x == x else x


@_exact
def log64(x: Any) -> Any:
    """log x, for float64."""
    small = x < 2.2250738585072014e-308
    bits = d(x * 18014398509481984.0 if small else x).view(np.int64)
    bits = bits + i64((0x3FF00000 - 0x3FE6A09E) << 32)
    n = d((bits >> i64(52)) - (i64(1077) if small else i64(1023)))
    m = i64((bits & i64(0x000FFFFFFFFFFFFF)) + i64(0x3FE6A09E << 32)).view(np.float64)
    g = m - 1.0
    s = g / (g + 2.0)
    z = s * s
    p = 1.479819860511658591e-01
    p = p * z + 1.531383769920937332e-01
    p = p * z + 1.818357216161805012e-01
    p = p * z + 2.222219843214978396e-01
    p = p * z + 2.857142874366239149e-01
    p = p * z + 3.999999999940941908e-01
    p = p * z + 6.666666666666735130e-01
    h = 0.5 * (g * g)
    last = s * (h + p * z) + n * 1.90821492927058770002e-10
    result = n * 6.93147180369123816490e-01 - ((h - last) - g)
    result = result if x > 0.0 else (d(-np.inf) if x == 0.0 else d(np.nan))
    return result if x < np.inf else x


@_exact
def log1p64(x: Any) -> Any:
    """log(1 + x), for float64: the logarithm of the rounded sum, and what the rounding lost."""
    u = 1.0 + x
    result = log64(u) + (x - (u - 1.0)) / u
    return result if u > 0.0 and u < np.inf else log64(u)


@_exact
def tanh64(x: Any) -> Any:
    """tanh x, for float64."""
    e = expm1_64(-2.0 * abs(x))
    y = -e / (e + 2.0)
    return y if x >= 0.0 else -y
