"""ERNIE is a BERT with task embeddings; that of task 0 is a constant, so it becomes a plain BERT.

Word, position, token type and task embeddings are added before one normalization.  Blanks are
filled with task 0 throughout (as transformers does where no task is given), so its vector can be
added to every token type once and for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import UnusableInputError
from .families import FAMILIES

if TYPE_CHECKING:
    import torch

    from .tying import Remark

KIND, BASE = "ernie", "ernie."
TASKS = "bert.embeddings.task_type_embeddings.weight"
TYPES = "bert.embeddings.token_type_embeddings.weight"
KEYS = ("use_task_id", "task_type_vocab_size")  # in config.json

AS_PUBLISHED = replace(
    FAMILIES["bert"],
    kind=KIND,
    title="ERNIE",
    architectures=("ErnieForMaskedLM", "ErnieForPreTraining"),
    configuration="ErnieConfig",
    base=BASE,
)
"""How transformers names it."""


def fold_tasks(
    tensors: dict[str, torch.Tensor], config: Mapping[str, Any], where: str, remark: Remark
) -> None:
    """Add the embedding of task 0 to those of the token types, and drop the task embeddings.

    Raises UnusableInputError if config.json and the file disagree on whether there are any.
    """
    import torch

    tasks, used = tensors.pop(TASKS, None), config.get(KEYS[0])
    if tasks is None:
        if used:
            raise UnusableInputError(
                f"{where} lacks {TASKS}, and config.json says use_task_id: name a model that has it"
            )
        return
    if used is None:
        raise UnusableInputError(
            f"{where} has task embeddings, and config.json does not say use_task_id: say there"
            " whether the model uses them (true or false)"
        )
    if not used:
        remark("the task embeddings are left out, as config.json says")
        return
    types = tensors.get(TYPES)
    if types is None or tasks.dim() != 2 or tasks.shape[1] != types.shape[-1]:
        raise UnusableInputError(f"{where}: the task embeddings do not fit {TYPES}")
    tensors[TYPES] = (types.to(torch.float64) + tasks[0].to(torch.float64)).to(torch.float32)
    remark("the embedding of task 0 is added to those of the token types")
