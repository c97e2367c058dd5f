"""Public checkpoints' layouts, through a hub: read as plain transformers reads them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hub_endpoint import HubEndpoint
from public_layouts import LAYOUTS, WEIGHTS, Layout, save_layout

import tiankong
from tiankong.toolkit.files import ARTIFACTS
from tiankong.toolkit.models.loading import load_model

if TYPE_CHECKING:
    import torch

HARD = (
    "床前明月光,疑是地[MASK]霜。",
    "[MASK]",
    "[MASK][MASK]",
    "[MASK]到成功，马到[MASK]成",
    "今天天气真[MASK]啊！",
    "我的iPhone 15 Pro只用了３[MASK]天",
    "Café naïve résumé [MASK] Ünïcödé",
    "cafe\u0301 [MASK] e\u0301e\u0301",
    "THE QUICK brown [MASK] Fox",
    "价格是￥3,999.00（含税8[MASK]%）",
    "😀👨‍👩‍👧 [MASK] 🇨🇳",
    "𠮷野家在[MASK]京",
    "體、龍、漢[MASK]字",
    "ひらがなとカタカナ[MASK]",
    "한국어 [MASK] 조선말",
    "零\u200b宽\ufeff字[MASK]符",
    "控\x00制\x07字[MASK]符\x7f",
    "\t制表\n换行\r\n[MASK]　全角空格\u00a0不断行",
    "ＡＢＣａｂｃ１２３[MASK]",
    "\uf9d1不是六[MASK]",
    "①②Ⅳ[MASK]ⅳ㎡½",
    "“引号”‘单’《书》【方】—— ……[MASK]~～",
    "https://www.example.com/a?b=c#d [MASK] x@y.cn",
    "#话题# @某人 [MASK] $AAPL",
    "[UNK] 在句中[MASK]",
    "[unused1] [MASK] <S> <T>",
    "[mask] [Mask] [MASK] MASK",
    "x" * 120 + " [MASK]",
    "מילה עברית [MASK] كلمة",
    "软\u00ad连字\u2060符[MASK]2024-11-30 08:50",
)
assert len(HARD) == 30


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every layout's folder by the repository's name."""
    root = tmp_path_factory.mktemp("layouts")
    return {layout.repo: save_layout(layout, root / layout.repo) for layout in LAYOUTS}


@pytest.fixture(params=LAYOUTS, ids=lambda layout: layout.repo)
def layout(
    request: pytest.FixtureRequest,
    folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """One layout, served by a hub; an empty cache."""
    chosen: Layout = request.param
    monkeypatch.setenv(ARTIFACTS, str(tmp_path / "artifacts"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    with HubEndpoint(folders[chosen.repo], chosen.repo) as endpoint:
        monkeypatch.setenv("HF_ENDPOINT", endpoint.url)
        yield chosen


def plain(folder: Path, layout: Layout) -> tuple[list[list[int]], list[torch.Tensor]]:
    """Return the ids that plain transformers makes of the sentences, and its logits."""
    import torch
    import transformers

    library: Any = transformers
    tokenizer = getattr(library, layout.tokenizer).from_pretrained(folder)
    network = getattr(library, layout.plain).from_pretrained(folder, dtype=torch.float32).eval()
    ids = [tokenizer(text)["input_ids"] for text in HARD]
    with torch.no_grad():
        return ids, [network(input_ids=torch.tensor([row])).logits[0] for row in ids]


def test_read_as_plain_transformers_reads_it(layout: Layout, folders: dict[str, Path]) -> None:
    import torch

    folder = folders[layout.repo]
    ids, logits = plain(folder, layout)
    loaded = load_model(layout.repo, convert_pickle=True)
    assert [loaded.tokenizer.encode(text).ids for text in HARD] == ids
    with torch.no_grad():
        ours = [loaded.network(input_ids=torch.tensor([row])).logits[0] for row in ids]
    for expected, answer in zip(logits, ours, strict=True):
        assert torch.allclose(expected, answer, rtol=0, atol=1e-4)

    # The served variant: the whole way from the hub to ranked tokens.
    predictor = tiankong.open_predictor("onnx-fp32", layout.repo, convert_pickle=True)
    for text, row, expected in zip(HARD, ids, logits, strict=True):
        (answer,) = predictor.predict([text])
        masks = [place for place, token in enumerate(row) if token == predictor.encoder.mask_id]
        best = expected[masks].topk(5).indices.tolist()
        assert [[ranked.token for ranked in ranking] for ranking in answer] == [
            [predictor.encoder.token(token) for token in tokens] for tokens in best
        ]
    pickled = not (folder / WEIGHTS).exists()
    assert bool(loaded.pickles) == pickled
