"""Which matrix and which bias the decoder of a head has: a file may name each twice, or once.

The decoder is the last linear layer, from hidden states to scores of tokens.  Its matrix is either
the token embeddings ("tied") or one of its own.  Its bias has two names in some families; of two
that differ transformers computes with the one that is called the decoder's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ..errors import UnusableInputError
from .families import Family

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

Remark = Callable[[str], None]


def settle_decoder(
    tensors: Tensors, model_family: Family, config_ties: bool, where: str, remark: Remark
) -> bool:
    """Put the decoder's matrix and bias under all their names; return whether it is tied.

    The file's tensors decide; ``config_ties`` is what config.json says (``tie_word_embeddings``).
    A decoder of its own gets biases that share no storage: saving would keep only one of them.
    ``remark`` is called with what is unusual.  Raises UnusableInputError if the file has no decoder
    and config.json says that it has one of its own.
    """
    tied = _settle_matrix(tensors, model_family, config_ties, where)
    if not tied:
        remark("the decoder is a matrix of its own")
    _settle_bias(tensors, model_family, config_ties, tied, remark)
    return tied


def _settle_matrix(tensors: Tensors, model_family: Family, config_ties: bool, where: str) -> bool:
    import torch

    decoder, embeddings = model_family.decoder, model_family.embeddings
    if decoder in tensors and embeddings in tensors:
        if not torch.equal(tensors[decoder], tensors[embeddings]):
            return False
    elif not config_ties and (decoder in tensors or embeddings in tensors):
        absent = embeddings if decoder in tensors else decoder
        raise UnusableInputError(
            f"{where} lacks {absent}, and config.json says that the decoder is not tied"
            " (tie_word_embeddings false): name a model with both matrices"
        )
    if embeddings in tensors:
        tensors[decoder] = tensors[embeddings]
    elif decoder in tensors:
        tensors[embeddings] = tensors[decoder]
    return True


def _settle_bias(
    tensors: Tensors, model_family: Family, config_ties: bool, tied: bool, remark: Remark
) -> None:
    shared, own = model_family.head_bias, model_family.decoder_bias
    if own is None:
        return
    if own in tensors:
        if shared in tensors and not _equal(tensors, own, shared):
            remark(f"{own} and {shared} differ, and the decoder's own is used")
        tensors[shared] = tensors[own]
    elif shared in tensors:
        if not (tied or config_ties):
            remark(f"{shared} is the decoder's bias, which transformers from 5 on starts at zero")
        tensors[own] = tensors[shared]
    if not tied and own in tensors:
        tensors[own] = tensors[own].clone()


def _equal(tensors: Mapping[str, torch.Tensor], one: str, other: str) -> bool:
    import torch

    return torch.equal(tensors[one], tensors[other])
