"""Held to Triton's published schema and to what the engines say.

Nothing here starts Triton: it comes as a container image only.
"""

from __future__ import annotations

import shutil
from importlib.metadata import files
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf import text_format
from tokenizers import Tokenizer

from tiankong.toolkit.building.brought import bring
from tiankong.toolkit.building.folders import Built
from tiankong.toolkit.building.offer import Offer
from tiankong.toolkit.building.opening import open_variant
from tiankong.toolkit.building.recipes import read_recipes
from tiankong.toolkit.building.triton import Running, write_repository
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.pbtxt import Word, text_of

if TYPE_CHECKING:
    from types import ModuleType

ONNX = [recipe.name for recipe in read_recipes() if recipe.engine == "onnxruntime"]
TYPES = {"tensor(int64)": "TYPE_INT64", "tensor(float)": "TYPE_FP32"}


@pytest.fixture(scope="module")
def schema() -> ModuleType:
    """model_config.proto as Triton's own client package ships it (without its gRPC parts)."""
    (path,) = [
        p for p in files("tritonclient") or () if p.match("tritonclient/grpc/model_config_pb2.py")
    ]
    spec = spec_from_file_location("model_config_pb2", str(path.locate()))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def repository(small_variants: dict[str, Built], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("triton") / "models"
    write_repository(folder, [small_variants[name] for name in ONNX], Running(2, 3, 8))
    return folder


def config(schema: ModuleType, folder: Path) -> Any:
    text = (folder / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, schema.ModelConfig())


def tensors(schema: ModuleType, fields: Any) -> list[tuple[str, str, list[int]]]:
    return [(f.name, schema.DataType.Name(f.data_type), list(f.dims)) for f in fields]


def described(entries: Any, begin: int) -> list[tuple[str, str, list[int]]]:
    return [
        (e.name, TYPES[e.type], [s if isinstance(s, int) else -1 for s in e.shape[begin:]])
        for e in entries
    ]


@pytest.mark.parametrize("name", ONNX)
def test_the_configuration_is_what_the_file_says(
    name: str, repository: Path, schema: ModuleType
) -> None:
    written = config(schema, repository / name)
    session = onnxruntime.InferenceSession(str(repository / name / "1" / "model.onnx"))
    begin = 1 if written.max_batch_size else 0
    assert tensors(schema, written.input) == described(session.get_inputs(), begin)
    assert tensors(schema, written.output) == described(session.get_outputs(), begin)
    assert (written.name, written.backend) == (name, "onnxruntime")
    assert list(written.version_policy.specific.versions) == [1]
    (group,) = written.instance_group
    assert (group.count, group.kind) == (2, schema.ModelInstanceGroup.KIND_CPU)
    threads = written.parameters["intra_op_thread_count"].string_value
    assert threads == "3"
    assert written.HasField("dynamic_batching") == (written.max_batch_size > 0)
    assert sorted(p.name for p in (repository / name).iterdir()) == [
        "1", "config.pbtxt", "tokenizer.json",
    ]  # fmt: skip


def test_only_outputs_a_sentence_are_batched(repository: Path, schema: ModuleType) -> None:
    most = {name: config(schema, repository / name).max_batch_size for name in ONNX}
    assert (most["onnx-fp32"], most["onnx-int8"]) == (8, 0)


@pytest.mark.parametrize("name", ONNX)
def test_a_client_with_the_repository_alone_gets_our_answers(
    name: str, repository: Path, small_variants: dict[str, Built]
) -> None:
    """Two sentences of equal length at once, fed by the configuration's rules."""
    texts = ["床前明月光,疑是地[MASK]霜。", "白日依山[MASK],黄河入海流。"]
    tokenizer = Tokenizer.from_file(str(repository / name / "tokenizer.json"))
    encoded = tokenizer.encode_batch(texts)
    ids = np.array([e.ids for e in encoded], np.int64)
    feed = {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "token_type_ids": np.zeros_like(ids),
    }
    session = onnxruntime.InferenceSession(str(repository / name / "1" / "model.onnx"))
    (logits,) = session.run(["logits"], feed)
    best = logits[ids == tokenizer.token_to_id("[MASK]")].argmax(axis=-1)
    answers = open_variant(small_variants[name].folder).predict(texts)
    assert [tokenizer.id_to_token(int(i)) for i in best] == [a[0][0].token for a in answers]


def brought(built: Built, folder: Path, change: Any) -> Built:
    model = onnx.load(str(built.folder / built.manifest.recipe.file))
    change(model)
    onnx.save(model, str(folder / "mine.onnx"), save_as_external_data=True, location="mine.data")
    return bring(Offer(folder / "mine.onnx", built.folder))


def dynamic(model: onnx.ModelProto) -> None:
    """Put an activation scale taken from the whole tensor into the graph."""
    (ids,) = [n for n in model.graph.node if "logits" in n.output]
    ids.output[:] = ["exact" if name == "logits" else name for name in ids.output]
    quantize = onnx.helper.make_node("DynamicQuantizeLinear", ["exact"], ["q", "scale", "zero"])
    back = onnx.helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["logits"])
    model.graph.node.extend([quantize, back])


def one_sentence(model: onnx.ModelProto) -> None:
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1


@pytest.mark.parametrize(("change", "dims"), [(dynamic, [-1, -1]), (one_sentence, [1, -1])])
def test_what_must_not_be_batched_is_not(
    change: Any,
    dims: list[int],
    small_variants: dict[str, Built],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    schema: ModuleType,
) -> None:
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "artifacts"))
    built = brought(small_variants["onnx-fp32"], tmp_path, change)
    (folder,) = write_repository(tmp_path / "models", [built], Running())
    written = config(schema, folder)
    assert (written.max_batch_size, written.HasField("dynamic_batching")) == (0, False)
    assert all(list(field.dims) == dims for field in written.input)
    assert sorted(p.name for p in (folder / "1").iterdir()) == ["mine.data", "model.onnx"]
    onnxruntime.InferenceSession(str(folder / "1" / "model.onnx"))


def test_what_cannot_be_exported_leaves_nothing(
    small_variants: dict[str, Built], tmp_path: Path
) -> None:
    target = tmp_path / "models"
    good, torch = small_variants["onnx-int8"], small_variants["pytorch-fp32"]
    with pytest.raises(UnusableInputError, match="pytorch-fp32 is a pytorch variant"):
        write_repository(target, [good, torch], Running())
    spoilt = Built(tmp_path / "spoilt", good.manifest, skipped=True)
    shutil.copytree(good.folder, spoilt.folder)
    (spoilt.folder / "tokenizer.json").write_text("{}")
    with pytest.raises(UnusableInputError, match="damaged"):
        write_repository(target, [small_variants["onnx-fp32"], spoilt], Running())
    assert [path.name for path in tmp_path.iterdir()] == ["spoilt"]
    target.mkdir()
    (target / "mine").mkdir()
    with pytest.raises(UnusableInputError, match="not empty"):
        write_repository(target, [good], Running())
    assert [path.name for path in target.iterdir()] == ["mine"]


def test_a_misspelt_field_would_be_found(schema: ModuleType) -> None:
    for text in ('nam: "x"', "max_batch_size: 8.5", "instance_group { kind: KIND_TOASTER }"):
        with pytest.raises(text_format.ParseError):
            text_format.Parse(text, schema.ModelConfig())


def test_any_text_survives(schema: ModuleType) -> None:
    name = 'quotes " and \\ backslash, 填空, a tab\t and a line\n'
    text = text_of({"name": name, "input": [{"name": "a", "dims": []}], "max_batch_size": 0,
                    "instance_group": {"kind": Word("KIND_CPU"), "passive": True}})  # fmt: skip
    parsed = text_format.Parse(text, schema.ModelConfig())
    assert parsed.name == name
    assert parsed.instance_group[0].passive


def test_openvino_files_are_described(
    small_variants: dict[str, Built], tmp_path: Path, schema: ModuleType
) -> None:
    pytest.importorskip("openvino", reason="the extra 'openvino' is not installed")
    (place,) = write_repository(
        tmp_path / "models", [small_variants["openvino-int8"]], Running(threads=2)
    )
    written = config(schema, place)
    assert sorted(p.name for p in (place / "1").iterdir()) == ["model.bin", "model.xml"]
    words = [(n, "TYPE_INT32", [-1, -1]) for n in ("input_ids", "attention_mask", "token_type_ids")]
    assert sorted(tensors(schema, written.input)) == sorted(words)
    assert sorted(tensors(schema, written.output)) == [
        ("mask_logits", "TYPE_FP32", [-1, 7021]),
        ("top_ids", "TYPE_INT32", [-1, 50]),
        ("top_scores", "TYPE_FP32", [-1, 50]),
    ]
    assert (written.backend, written.max_batch_size) == ("openvino", 0)
    assert written.parameters["INFERENCE_NUM_THREADS"].string_value == "2"
