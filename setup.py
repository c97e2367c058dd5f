"""Keep noxfile.py and this file, which lie beside the package's folders, out of the wheel."""

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildPy(build_py):
    """Collects the modules of the root package except the project's own tooling."""

    def find_package_modules(self, package, package_dir):
        """Return (package, module, file) triples."""
        modules = super().find_package_modules(package, package_dir)
        return [entry for entry in modules if entry[1] not in ("noxfile", "setup")]


setup(cmdclass={"build_py": BuildPy})
