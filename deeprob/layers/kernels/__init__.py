"""Machine: loops compiled by numba, tiles, threads, Winograd, operators for the compiler.

Nobody needs it to believe a gradient: each of these is held to the formula of the layer that it serves.
"""
