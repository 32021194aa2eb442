"""Builds the native kernels as an extension. If it fails to build, NumPy computes everything."""

from pathlib import Path

from setuptools import Extension, setup

KERNELS = Path("charlstm/kernels")

setup(
    ext_modules=[
        Extension(
            "charlstm.kernels._native",
            sources=sorted(str(source) for source in KERNELS.glob("native*.c")),
            depends=sorted(str(header) for header in KERNELS.glob("*.h")),
            # These two change no result: errno and floating-point exceptions are not used.
            extra_compile_args=["-O3", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi"],
            py_limited_api=True,
            optional=True,
        )
    ],
)
