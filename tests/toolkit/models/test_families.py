"""Models of every family build, keep their answers and are served."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from family_models import KINDS, random_network, save_family_model

from tiankong.bench.serving.served import serve
from tiankong.server.settings import Settings
from tiankong.toolkit.building.availability import choose, why_not_of_model
from tiankong.toolkit.building.folders import Built
from tiankong.toolkit.building.opening import open_variant
from tiankong.toolkit.building.recipes import read_recipes
from tiankong.toolkit.building.store import Store
from tiankong.toolkit.engines.onnx_engine import UNPADDED, OnnxEngine
from tiankong.toolkit.engines.predictor import as_body
from tiankong.toolkit.errors import UnusableInputError
from tiankong.toolkit.gate.examination import gate
from tiankong.toolkit.gate.gold import GoldItem, GoldSet, read_gold
from tiankong.toolkit.graphs import steps as graphs
from tiankong.toolkit.models.families import FAMILIES, family, geometry
from tiankong.toolkit.models.loading import load_model, read_config

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    Tensors = dict[str, torch.Tensor]

ITEMS, SAME_ANSWER, APART = 24, 6, 0.02


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for every family; a test copies one before it damages it."""
    place = tmp_path_factory.mktemp("families")
    return {kind: save_family_model(place / f"tiny-{kind}", kind) for kind in KINDS}


@pytest.fixture(scope="module")
def variants(shared_artifacts: Path, folders: dict[str, Path]) -> dict[str, dict[str, Built]]:
    """Every recipe that works on this machine, built from every family it applies to."""
    return {
        kind: {b.manifest.variant: b for b in Store(str(folder)).build()}
        for kind, folder in folders.items()
    }


def decided(folder: Path) -> GoldSet:
    """Return sentences on which a random model is sure enough, with its own answers as gold."""
    predictor, gold = open_variant(folder, 1), read_gold()
    found = []
    encoded = [predictor.encoder.encode(text) for text in gold.texts()]
    batch = predictor.encoder.batch(encoded)
    firsts = np.unique(batch.rows, return_index=True)[1]
    for item, logits in zip(gold.items, predictor.engine.logits(batch)[firsts], strict=True):
        top, spread = np.sort(logits)[::-1], logits.std()
        if top[4] - top[5] > APART * spread:
            best = predictor.encoder.token(int(logits.argmax()))
            found.append(((top[0] - top[1]) / spread, replace(item, answer=best)))
    chosen: list[GoldItem] = []
    often: Counter[str] = Counter()
    for _, item in sorted(found, key=lambda pair: -pair[0]):
        often[item.answer] += 1
        if often[item.answer] <= SAME_ANSWER and len(chosen) < ITEMS:
            chosen.append(item)
    assert len(chosen) == ITEMS
    return replace(gold, name=f"{folder.parent.name}.jsonl", items=tuple(chosen))


@pytest.mark.parametrize("kind", KINDS)
def test_every_recipe_passes_the_gate(variants: dict[str, dict[str, Built]], kind: str) -> None:
    built = variants[kind]
    config = read_config(built["pytorch-fp32"].folder)
    here = choose().recipes
    assert sorted(built) == sorted(r.name for r in here if why_not_of_model(r, config) is None)
    model = str(built["pytorch-fp32"].manifest.model["name"])
    gated = gate(Store(model), list(built.values()), decided(built["pytorch-fp32"].folder))
    for result in gated.checks:
        assert result.passed, (result.variant, result.reasons)
        assert result.agreement is not None
        assert result.agreement.top1 == 1.0
    exact = next(r for r in gated.checks if r.variant == "onnx-fp32")
    assert exact.agreement is not None
    assert 0 < exact.agreement.max_delta < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_the_tied_matrix_is_in_the_file_once(
    variants: dict[str, dict[str, Built]], kind: str
) -> None:
    config = read_config(variants[kind]["onnx-fp32"].folder)
    sizes = geometry(config)
    for name in ("onnx-fp32", "onnx-fp16", "onnx-int8"):
        built = variants[kind][name]
        graph = onnx.load(str(built.folder / built.manifest.recipe.file)).graph
        wide = [t for t in graph.initializer if sizes.vocabulary in t.dims and len(t.dims) == 2]
        assert len(wide) == 1
        assert [value.name for value in graph.input] == [*FAMILIES[kind].inputs]
    tokenizer = json.loads((built.folder / "tokenizer_config.json").read_text())
    assert tokenizer["model_input_names"] == [*FAMILIES[kind].inputs]


def test_layers_that_share_weights_share_them_in_the_file(
    variants: dict[str, dict[str, Built]],
) -> None:
    albert, bert = (variants[kind]["onnx-fp32"].manifest.model for kind in ("albert", "bert"))
    assert albert["layers"] == bert["layers"] == 3
    for name in ("onnx-fp32", "onnx-fp16", "onnx-int8"):
        built = variants["albert"][name]
        graph = onnx.load(str(built.folder / built.manifest.recipe.file)).graph
        numbers = sum(int(np.prod(tensor.dims)) for tensor in graph.initializer)
        # The last layer's query, key and value weights may be stored a second time, separately.
        apart = "last-layer-at-mask" in built.manifest.recipe.steps
        again = 3 * 128 * 128 if apart else 0
        assert 0.98 < numbers / (albert["parameters"] + again) < 1.02


@pytest.mark.parametrize("kind", KINDS)
def test_without_padding_it_answers_the_same(
    variants: dict[str, dict[str, Built]], kind: str
) -> None:
    built = variants[kind]["onnx-int8"]
    shared = open_variant(built.folder, share=True)
    assert shared.engine.about.unpads
    assert shared.engine.about.kept
    batch = shared.encoder.batch([shared.encoder.encode(text) for text in read_gold().texts()[:12]])
    assert not batch.attention_mask.all()
    plain = OnnxEngine(built.folder / built.manifest.recipe.file, 1)
    given = OnnxEngine(shared.engine.about.kept / UNPADDED, 1).logits(batch)
    assert np.array_equal(given, plain.logits(batch))


@pytest.mark.parametrize("kind", ["distilbert", "albert"])
def test_it_is_served(variants: dict[str, dict[str, Built]], kind: str) -> None:
    built = variants[kind]["onnx-int8"]
    texts = read_gold().texts()[:5]
    expected = open_variant(built.folder, 1).predict(texts)
    with serve("reference", Settings(folder=built.folder)) as server:
        for text, answer in zip(texts, expected, strict=True):
            request = urllib.request.Request(
                f"{server.url}/predict",
                json.dumps({"text": text}).encode(),
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=30) as reply:
                given = json.load(reply)["results"]
            wanted = as_body(answer)["results"]
            assert [best["token"] for best in given] == [best["token"] for best in wanted]
            assert [b["score"] for b in given] == pytest.approx([b["score"] for b in wanted])


# --- what is known of a family ---


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [1, 4])
def test_parameters_are_known_before_loading(kind: str, layers: int) -> None:
    network = random_network(kind, layers=layers)
    sizes = geometry(network.config.to_dict())
    assert sizes.parameters == sum(p.numel() for p in network.parameters())
    assert (sizes.layers, sizes.hidden, sizes.heads) == (layers, 128, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_defaults_are_those_of_transformers(kind: str) -> None:
    import transformers

    configuration = getattr(transformers, FAMILIES[kind].configuration)()
    whole = configuration.to_dict()
    assert geometry({"model_type": kind}) == geometry(whole)
    assert FAMILIES[kind].activation({}) == FAMILIES[kind].activation(whole)
    wanted = getattr(transformers, FAMILIES[kind].architectures[0])
    tied = {FAMILIES[kind].decoder: FAMILIES[kind].embeddings}
    if FAMILIES[kind].decoder_bias:
        tied[str(FAMILIES[kind].decoder_bias)] = FAMILIES[kind].head_bias
    assert wanted._tied_weights_keys == tied


def test_groups_of_layers_are_counted() -> None:
    network = random_network("albert", layers=4, num_hidden_groups=2, inner_group_num=3)
    sizes = geometry(network.config.to_dict())
    assert (sizes.layers, sizes.stored_layers) == (12, 6)
    assert sizes.parameters == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_any_activation_is_fused_and_counted(kind: str, activation: str, tmp_path: Path) -> None:
    key = FAMILIES[kind].key("activation")
    network = random_network(kind, layers=2, **{key: activation})
    config = network.config.to_dict()
    graphs.export(network, tmp_path / "export.onnx")
    graphs.fuse(tmp_path / "export.onnx", tmp_path / "fuse.onnx", config)
    counts = graphs.operators(tmp_path / "fuse.onnx")
    assert counts["Attention"] == 2
    head = "gelu" if kind == "electra" else activation
    wanted = Counter({"gelu": 0, "gelu_new": 0} | Counter([activation, activation, head]))
    assert (counts["BiasGelu"], counts["FastGelu"]) == (wanted["gelu"], wanted["gelu_new"])
    other = dict(config)
    other[FAMILIES[kind].key("layers")] = 3
    with pytest.raises(UnusableInputError, match=f"not a {FAMILIES[kind].title} of the geometry"):
        graphs.fuse(tmp_path / "export.onnx", tmp_path / "x.onnx", other)


def test_a_decoder_of_its_own_builds_in_8_bits(
    shared_artifacts: Path, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(folders["distilbert"], tmp_path / "untied"))
    edit_weights(folder, lambda t: {**t, "vocab_projector.weight": 0.5 * t[WORDS]})
    built = {b.manifest.variant: b for b in Store(str(folder)).build(["pytorch-fp32", "onnx-int8"])}
    reference, eight = (
        open_variant(built[name].folder, 1) for name in ("pytorch-fp32", "onnx-int8")
    )
    assert isinstance(eight.engine, OnnxEngine)
    encoder = reference.encoder
    batch = encoder.batch([encoder.encode(text) for text in read_gold().texts()[:40]])
    given, expected = eight.engine.logits(batch), reference.engine.logits(batch)
    assert float(np.abs(given - expected).max() / expected.std()) < 0.5
    model = onnx.load(str(built["onnx-int8"].folder / "onnx" / "model_int8.onnx"))
    rows = len(encoder.vocabulary)
    wide = [t.data_type for t in model.graph.initializer if len(t.dims) == 2 and rows in t.dims]
    assert wide == [onnx.TensorProto.INT8] * 2


# --- recipes that do not apply ---


def test_a_recipe_that_does_not_apply(
    folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TIANKONG_ARTIFACTS", str(tmp_path / "artifacts"))
    folder = save_family_model(tmp_path / "odd", "bert", hidden_act="xielu", layers=1)
    wanted = "onnx-int8 is not made of this model: its activation xielu has no ONNX operators"
    store = Store(str(folder))
    for use in (store.build, store.get):
        with pytest.raises(UnusableInputError) as caught:
            use(["onnx-int8"])
        assert str(caught.value) == wanted
    assert not (tmp_path / "artifacts").exists()
    capsys.readouterr()
    with pytest.raises(UnusableInputError, match=wanted):
        choose(["onnx-int8"], str(folder))
    choice = choose(model=str(folder))
    assert {r.engine for r in choice.recipes} == {"pytorch"}
    lines = [line for line in capsys.readouterr().err.splitlines() if "skipped" in line]
    assert len(lines) == len(choice.skipped) == len(read_recipes()) - len(choice.recipes)
    assert f"skipped: {wanted}" in lines


@pytest.mark.parametrize("kind", KINDS)
def test_only_openvino_is_for_bert_alone(folders: dict[str, Path], kind: str) -> None:
    config = read_config(folders[kind])
    assert family(config).kind == kind
    for recipe in read_recipes():
        why = why_not_of_model(recipe, config)
        if recipe.engine != "openvino" or kind == "bert":
            assert why is None
        else:
            assert why == (
                "is not made of this model: it is made of a BERT only,"
                f" not of {family(config).title}"
            )


# --- files good and bad ---

WEIGHTS = "model.safetensors"
WORDS = "distilbert.embeddings.word_embeddings.weight"


def edit_weights(folder: Path, change: Callable[[Tensors], Tensors]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = change(load_file(folder / WEIGHTS))
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, folder / WEIGHTS)


def edit_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))


@pytest.fixture
def copy(folders: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that copies a family's folder, so that a test may damage the copy."""
    return lambda kind: Path(shutil.copytree(folders[kind], tmp_path / kind))


def refused(folder: Path) -> str:
    with pytest.raises(UnusableInputError) as caught:
        load_model(str(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_what_old_files_have_to_spare(copy: Callable[[str], Path], kind: str) -> None:
    import torch

    folder, spec = copy(kind), FAMILIES[kind]
    ids = torch.tensor([[2, 9, 4, 30, 3]])
    expected = load_model(str(folder)).network(ids).logits

    def as_of_old(tensors: Tensors) -> Tensors:
        extra = {f"{name}x": torch.zeros(2) for name in spec.spare}
        positions = {f"{spec.base}embeddings.position_ids": torch.arange(512)[None]}
        return {**tensors, **extra, **positions, spec.decoder: tensors[spec.embeddings]}

    edit_weights(folder, as_of_old)
    assert torch.equal(load_model(str(folder)).network(ids).logits, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_lack_a_part(copy: Callable[[str], Path], kind: str) -> None:
    folder, spec = copy(kind), FAMILIES[kind]
    whole = (folder / WEIGHTS).read_bytes()
    edit_weights(folder, lambda t: {n: v for n, v in t.items() if not n.startswith(spec.head)})
    line = refused(folder)
    assert "has no head to fill blanks with" in line
    assert f"saved as {spec.architectures[0]}" in line
    (folder / WEIGHTS).write_bytes(whole)
    edit_weights(folder, lambda t: {n: v for n, v in t.items() if n != spec.embeddings})
    assert f"lacks {spec.embeddings}" in refused(folder)
    (folder / WEIGHTS).write_bytes(whole)
    edit_weights(folder, lambda t: {**t, f"{spec.base}stray": t[spec.embeddings]})
    assert f"has no place for: {spec.base}stray" in refused(folder)


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("distilbert", {"architectures": "DistilBertForMaskedLM"}, "not a list"),
        ("distilbert", {"n_layers": 2}, "no place for"),
        ("distilbert", {"n_heads": 3}, "dim 128 is no multiple of n_heads 3"),
        ("albert", {"embedding_size": 128}, "they belong to different models"),
        ("albert", {"num_hidden_groups": 0}, "num_hidden_groups is 0"),
        ("electra", {"embedding_size": 128}, "no place for: electra.embeddings_project"),
    ],
)
def test_configurations_that_cannot_be(
    copy: Callable[[str], Path], kind: str, changes: dict[str, Any], words: str
) -> None:
    folder = copy(kind)
    edit_config(folder, **changes)
    assert words in refused(folder)


def test_a_folder_as_chinese_roberta_wwm_comes(copy: Callable[[str], Path]) -> None:
    """hfl/chinese-roberta-wwm-ext: a BERT with keys, files and tensors that are not needed."""
    import torch

    folder = copy("bert")
    loaded = load_model(str(folder))
    loaded.tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "added_tokens.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text('{"init_inputs": []}')
    specials = {f"{n}_token": f"[{n.upper()}]" for n in ("unk", "sep", "pad", "cls", "mask")}
    (folder / "special_tokens_map.json").write_text(json.dumps(specials))
    edit_config(
        folder, bos_token_id=0, eos_token_id=2, directionality="bidi", output_past=True,
        pooler_fc_size=768, pooler_num_attention_heads=12, pooler_num_fc_layers=3,
        pooler_size_per_head=128, pooler_type="first_token_transform",
    )  # fmt: skip
    edit_weights(
        folder,
        lambda t: {
            **t,
            "bert.pooler.dense.weight": torch.zeros(128, 128),
            "cls.seq_relationship.weight": torch.zeros(2, 128),
            "cls.predictions.decoder.weight": t["bert.embeddings.word_embeddings.weight"],
        },
    )
    again = load_model(str(folder))
    ids = torch.tensor([again.tokenizer.encode("床前明[MASK]光").ids])
    assert torch.equal(again.network(ids).logits, loaded.network(ids).logits)
