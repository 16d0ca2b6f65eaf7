"""The loops of the augmentation, compiled when first used."""

from __future__ import annotations

from typing import Any

import numpy as np

F32, U32, I32, U64 = np.float32, np.uint32, np.int32, np.uint64
ZERO, HALF, ONE = F32(0), F32(0.5), F32(1)
BYTE, GREEN, BLUE = U32(255), U32(8), U32(16)
WEIGHTS = (F32(0.299 / 255), F32(0.587 / 255), F32(0.114 / 255))  # grey (ITU-R BT.601) of bytes, 0 to 1


def warp_and_recolour(
    start: int,
    stop: int,
    images: Any,
    affine: Any,
    colour: Any,
    lift: Any,
    low: Any,
    high: Any,
    owner: Any,
    place: Any,
    out: Any,
) -> None:
    """Write tiles start..stop of out (B, 3, H', W') float32, each from its own of images (T, H, W, 3) uint8.

    out(p) = clip(colour [rgb(affine p), 1] + lift * mean grey, low, high), with rgb(q) bilinear between the
    four pixels around q, and q kept inside the image. affine: (T, 2, 3), from pixels about the tile's centre
    to those about the image's. colour: (T, 3, 4), lift: (T, 3), low, high: (3,), all float32.
    owner: int64 (T,), which of out a tile lies in; place: int64 (T, 4), its left, top, right, bottom there.

    A pixel is packed into one integer, so that it is fetched by one load where its channels would take three;
    one more row and column than the image has spare a test at its end. Each row is done in three loops, of
    which only the second (the loads) cannot use vector instructions.
    """
    height, width = images.shape[1], images.shape[2]
    pitch = width + 1
    packed = np.empty((height + 1) * pitch, U32)
    right, bottom = F32(width - 1), F32(height - 1)
    longest = out.shape[3]
    index, across, down = np.empty(longest, I32), np.empty(longest, F32), np.empty(longest, F32)
    p00, p01, p10, p11 = (
        np.empty(longest, U32),
        np.empty(longest, U32),
        np.empty(longest, U32),
        np.empty(longest, U32),
    )
    low0, low1, low2, high0, high1, high2 = low[0], low[1], low[2], high[0], high[1], high[2]
    for b in range(start, stop):
        red_sum, green_sum, blue_sum = 0, 0, 0
        for y in range(height):
            for x in range(width):
                red, green, blue = images[b, y, x, 0], images[b, y, x, 1], images[b, y, x, 2]
                packed[y * pitch + x] = U32(red) | (U32(green) << GREEN) | (U32(blue) << BLUE)
                red_sum, green_sum, blue_sum = red_sum + red, green_sum + green, blue_sum + blue
            packed[y * pitch + width] = packed[y * pitch + width - 1]
        packed[height * pitch :] = packed[(height - 1) * pitch : height * pitch]
        grey = WEIGHTS[0] * F32(red_sum) + WEIGHTS[1] * F32(green_sum) + WEIGHTS[2] * F32(blue_sum)
        grey = grey / F32(height * width)
        a, c = affine[b], colour[b]
        ax, ay, bx, by = a[0, 0], a[1, 0], a[0, 1], a[1, 1]
        c00, c01, c02, c03 = c[0, 0], c[0, 1], c[0, 2], c[0, 3] + lift[b, 0] * grey
        c10, c11, c12, c13 = c[1, 0], c[1, 1], c[1, 2], c[1, 3] + lift[b, 1] * grey
        c20, c21, c22, c23 = c[2, 0], c[2, 1], c[2, 2], c[2, 3] + lift[b, 2] * grey
        image, left, top = owner[b], place[b, 0], place[b, 1]
        across_tile, down_tile = place[b, 2] - left, place[b, 3] - top
        half_x, half_y = F32(across_tile - 1) * HALF, F32(down_tile - 1) * HALF
        for y in range(down_tile):
            v = F32(y) - half_y
            row_x, row_y = bx * v + a[0, 2] + right * HALF, by * v + a[1, 2] + bottom * HALF
            for x in range(across_tile):
                u = F32(I32(x)) - half_x
                from_x = min(max(ax * u + row_x, ZERO), right)
                from_y = min(max(ay * u + row_y, ZERO), bottom)
                x0, y0 = I32(from_x), I32(from_y)
                across[x], down[x] = from_x - F32(x0), from_y - F32(y0)
                index[x] = y0 * I32(pitch) + x0
            for x in range(across_tile):
                i = U64(index[x])
                p00[x], p01[x] = packed[i], packed[i + U64(1)]
                p10[x], p11[x] = packed[i + U64(pitch)], packed[i + U64(pitch + 1)]
            out0 = out[image, 0, top + y, left : left + across_tile]
            out1 = out[image, 1, top + y, left : left + across_tile]
            out2 = out[image, 2, top + y, left : left + across_tile]
            for x in range(across_tile):
                w11 = across[x] * down[x]
                w10, w01 = down[x] - w11, across[x] - w11
                w00 = ONE - across[x] - w10
                q00, q01, q10, q11 = p00[x], p01[x], p10[x], p11[x]
                red = w00 * F32(I32(q00 & BYTE)) + w01 * F32(I32(q01 & BYTE))
                red += w10 * F32(I32(q10 & BYTE)) + w11 * F32(I32(q11 & BYTE))
                green = w00 * F32(I32((q00 >> GREEN) & BYTE)) + w01 * F32(I32((q01 >> GREEN) & BYTE))
                green += w10 * F32(I32((q10 >> GREEN) & BYTE)) + w11 * F32(I32((q11 >> GREEN) & BYTE))
                blue = w00 * F32(I32(q00 >> BLUE)) + w01 * F32(I32(q01 >> BLUE))
                blue += w10 * F32(I32(q10 >> BLUE)) + w11 * F32(I32(q11 >> BLUE))
                out0[x] = min(max(c00 * red + c01 * green + c02 * blue + c03, low0), high0)
                out1[x] = min(max(c10 * red + c11 * green + c12 * blue + c13, low1), high1)
                out2[x] = min(max(c20 * red + c21 * green + c22 * blue + c23, low2), high2)


def blur(start: int, stop: int, planes: Any, taps: Any) -> None:
    """Blur samples start..stop of planes (B, 3, H, W) float32 in place, each by its own symmetric kernel.

    taps: (B, R + 1) float32, the weights at distances 0 to R; outside the image its border is repeated.
    """
    height, width = planes.shape[2], planes.shape[3]
    radius = taps.shape[1] - 1
    columns, padded = np.empty((height, width), F32), np.empty(width + 2 * radius, F32)
    for b in range(start, stop):
        weights = taps[b]
        for channel in range(3):
            plane = planes[b, channel]
            for y in range(height):
                result, middle = columns[y], plane[y]
                for x in range(width):
                    result[x] = weights[0] * middle[x]
                for k in range(1, radius + 1):
                    above, below, weight = plane[max(y - k, 0)], plane[min(y + k, height - 1)], weights[k]
                    for x in range(width):
                        result[x] += weight * (above[x] + below[x])
            for y in range(height):
                padded[:radius] = columns[y, 0]
                padded[radius : radius + width] = columns[y]
                padded[radius + width :] = columns[y, width - 1]
                result = plane[y]
                for x in range(width):
                    result[x] = weights[0] * padded[radius + x]
                for k in range(1, radius + 1):
                    left, right, weight = padded[radius - k :], padded[radius + k :], weights[k]
                    for x in range(width):
                        result[x] += weight * (left[x] + right[x])
