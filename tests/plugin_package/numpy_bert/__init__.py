"""The row of an engine, read when a recipe or variant names it: nothing heavy is imported here."""

from tiankong.toolkit.engines.kinds import Kind

KIND = Kind(
    name="numpy-bert",
    title="NumPy",
    module="numpy_bert.engine",
    distributions=("tiankong-numpy-bert", "safetensors"),
    makers=("tiankong-numpy-bert", "torch", "transformers"),
    builder="tiankong.toolkit.building.builders:write_weights",
    first_steps=(),
    last_steps=(),
    families=("bert",),
    uses_openblas=True,
)
