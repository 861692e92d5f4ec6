"""Typed canonical JSON: how values get into the store and back.

Values are written by annotation, never pickled, and no class is ever loaded by a stored name. The same value has the
same bytes in every process, because commands are compared by them.
"""

from qwit_durable.codec.compressing import ZlibCodec
from qwit_durable.codec.sealing import AesGcmCodec
from qwit_durable.codec.signature import ResultCodec, SignatureCodec
from qwit_durable.codec.text import unfit_as_name
from qwit_durable.codec.values import annotation_of, check_size, decode, encode

__all__ = [
    "AesGcmCodec",
    "ResultCodec",
    "SignatureCodec",
    "ZlibCodec",
    "annotation_of",
    "check_size",
    "decode",
    "encode",
    "unfit_as_name",
]
