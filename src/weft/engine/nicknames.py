"""Names for containers that were given none: adjective_noun, from the weaver's hedgerow."""

from __future__ import annotations

import random
from collections.abc import Callable


def choose(taken: Callable[[str], bool]) -> str:
    name = f"{random.choice(_ADJECTIVES)}_{random.choice(_NOUNS)}"
    candidate = name
    while taken(candidate):
        candidate = f"{name}{random.randrange(1, 1_000_000)}"
    return candidate


_ADJECTIVES = (
    "agile amber ample balmy bold brave brisk calm clear clever crisp dapper deft eager early fair fleet fond frank "
    "gentle glad golden grand hardy hazel honest humble jolly keen kind lively loyal lucid mellow merry mild modest "
    "neat nimble noble patient plain polite prompt proud quick quiet rapid ready robust sage sharp silent simple sleek "
    "snug sober solid spry stable steady stout sunny swift tidy trim trusty vivid warm wise witty zesty"
).split()
_NOUNS = (
    "alder aspen badger beech birch bobbin brook canvas cedar cotton crane damask denim falcon felt fern finch flax "
    "gauze hazel heron hickory ibis jute lace larch linen linnet loom lynx maple marten merlin muslin oak otter "
    "pattern petrel pine plover quill raven reed robin rowan satin selvage shuttle silk sorrel sparrow spindle swan "
    "swift tapestry teal thistle thread tweed twill velvet warp weaver weft willow wool wren yarn"
).split()
