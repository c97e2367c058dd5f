"""What graphs and engines agree on: names in a graph, and how long a ranking is."""

LOGITS, MASK_LOGITS = "logits", "mask_logits"
TOP_SCORES, TOP_IDS = "top_scores", "top_ids"
POSITIONS = "tiankong/positions"  # (masks, 2): sentence and token of every [MASK]
CONTRIB = "com.microsoft"  # the domain of ONNX Runtime's own operators
TOP, DEPTH = 5, 50  # tokens per [MASK]: by default, and the most a graph gives
ROUNDING = 1e-5  # of a probability: more than the last bits of float32
