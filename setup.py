"""The native kernels, as an extension that may fail to build: then NumPy serves alone."""

from pathlib import Path

from setuptools import Extension, setup

PARTS = ("", "_amx", "_avx512bf16", "_avx512", "_avx2", "_neon", "_portable")

setup(
    ext_modules=[
        Extension(
            "charlstm.kernels._native",
            sources=[f"charlstm/kernels/native{part}.c" for part in PARTS],
            depends=sorted(str(header) for header in Path("charlstm/kernels").glob("*.h")),
            # Neither flag changes a result: no errno, and no exception flags that anyone reads.
            extra_compile_args=["-O3", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi"],
            py_limited_api=True,
            optional=True,
        )
    ],
)
