"""Sequence to sequence (2014): an encoder and a decoder with one vector between them."""

from nnatomy.architectures.recurrent.seq2seq.model import Seq2Seq, backwards, build, loss, start_uniform

__all__ = ["Seq2Seq", "backwards", "build", "loss", "start_uniform"]
