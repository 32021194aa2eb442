"""Builds the native kernels as a plain shared library. If that fails, NumPy computes everything.

The library needs nothing of Python, so one wheel serves every Python of a platform.
"""

import os
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist

KERNELS = Path("charlstm/kernels")
# The last three change no result: errno and floating-point exceptions are not used.
FLAGS = ["-O3", "-Wno-psabi", "-fno-math-errno", "-fno-trapping-math"]


class BuildLibrary(build_ext):
    """Builds the library, or leaves a note of the reason why there is none."""

    reason = ""

    def get_ext_filename(self, fullname: str) -> str:
        return fullname.replace(".", os.sep) + (".dll" if os.name == "nt" else ".so")

    def get_export_symbols(self, ext: Extension) -> list[str]:
        return []  # no function of a Python module

    def build_extension(self, ext: Extension) -> None:
        try:
            super().build_extension(ext)
        except Exception as error:
            self.reason = " ".join(str(error).split())
            raise

    def run(self) -> None:
        super().run()
        (library,) = self.extensions
        note = Path(self.get_ext_fullpath(library.name)).with_name("not_built.txt")
        note.unlink(missing_ok=True)
        if self.reason:
            note.write_text(self.reason, encoding="utf-8")


class PlatformWheel(bdist_wheel):
    """A wheel for every Python of a platform."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


class SourceDistribution(sdist):
    """The sources without tests, of which setuptools would take a few by their names."""

    def make_distribution(self) -> None:
        self.filelist.prune("tests")
        super().make_distribution()


if __name__ == "__main__":
    setup(
        ext_modules=[
            Extension(
                "charlstm.kernels._native",
                sources=sorted(str(source) for source in KERNELS.glob("native*.c")),
                depends=sorted(str(header) for header in KERNELS.glob("*.h")),
                extra_compile_args=FLAGS,
                optional=True,
            )
        ],
        cmdclass={
            "bdist_wheel": PlatformWheel,
            "build_ext": BuildLibrary,
            "sdist": SourceDistribution,
        },
    )
