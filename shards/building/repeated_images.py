"""Pairs of a set that share their image: which, and across which splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from shards.decoding.image_hash import ImageHash, group_images, hash_image
from shards.errors import RejectedPair, UserError, failures_as_rejections
from shards.manifest import Manifest, RepeatedImages
from shards.progress import ProgressLine
from shards.schema import IMAGE_MEMBER, Pair
from shards.sources.source import Source
from shards.streaming.entries import read_member
from shards.streaming.index import load_index

HELD_OUT = ("val", "test")

SplitHashes = Iterable[tuple[str, str, ImageHash]]
"""(split, key, hash) of each pair, in the order of the tars."""


def count_repeated(pairs: SplitHashes) -> RepeatedImages:
    """Counts the pairs whose image other pairs have too, for the manifest.

    Returns:
        "pairs": those that share their image with another; "across_splits": those that share it with a pair of
        another split; "keys": of val and test, the keys of those whose image is also in training, or earlier in the
        same split; "in_training": of these, the keys of those whose image is also in training.
    """
    listed = list(pairs)
    groups = group_images([image for _, _, image in listed])
    sizes = Counter(groups)
    splits_of: dict[int, set[str]] = {}
    for (split, _, _), group in zip(listed, groups, strict=True):
        splits_of.setdefault(group, set()).add(split)
    repeated: dict[str, list[str]] = {split: [] for split in HELD_OUT}
    in_training: dict[str, list[str]] = {split: [] for split in HELD_OUT}
    seen: set[tuple[str, int]] = set()
    for (split, key, _), group in zip(listed, groups, strict=True):
        if split in repeated and ("train" in splits_of[group] or (split, group) in seen):
            repeated[split].append(key)
            if "train" in splits_of[group]:
                in_training[split].append(key)
        seen.add((split, group))
    return {
        "pairs": sum(count for count in sizes.values() if count > 1),
        "across_splits": sum(len(splits_of[group]) > 1 for group in groups),
        "keys": repeated,
        "in_training": in_training,
    }


def repeated_images(folder: Path, manifest: Manifest) -> RepeatedImages:
    """As `count_repeated`, of a finished set: from its manifest, or from its images if it does not say.

    Raises:
        UserError: a shard or its index is missing or damaged, or a stored image can't be decoded.
    """
    return manifest.repeated_images or _compared(folder, manifest)


def images_in_training(folder: Path, manifest: Manifest, known: RepeatedImages) -> dict[str, list[str]]:
    """Of val and test, the keys of pairs whose image is also in training.

    Args:
        folder: of the set.
        manifest: of the set.
        known: from `repeated_images`; if it is that of an earlier version, images are compared again.

    Raises:
        UserError: as `repeated_images`.
    """
    return known["in_training"] if "in_training" in known else _compared(folder, manifest)["in_training"]


def _compared(folder: Path, manifest: Manifest) -> RepeatedImages:
    """As `count_repeated`, from the images of a set."""
    num_pairs = sum(manifest.splits.values())
    with ProgressLine("comparing images", num_pairs) as progress:
        hashes = []
        for entry in manifest.shards:
            with (folder / entry.name).open("rb") as file:
                for sample in load_index(folder, entry):
                    try:
                        image = hash_image(read_member(file, sample, IMAGE_MEMBER))
                    except UserError:
                        raise
                    except ValueError as error:
                        raise UserError(
                            f"the image of sample {sample.key} in {folder / entry.name} can't be decoded ({error}); "
                            "see all faults with 'python shards/run.py verify'"
                        ) from error
                    hashes.append((entry.split, sample.key, image))
                    progress.advance()
    return count_repeated(hashes)


def groups_by_image(source: Source, pairs: Sequence[Pair], num_workers: int) -> list[str]:
    """A name for the image of each listed pair, the same for same images, before anything is packed.

    An image that can't be read is its own group; its pair is rejected when it is packed.
    """

    def hash_of(pair: Pair) -> ImageHash:
        try:
            with failures_as_rejections():
                return hash_image(source.stored_jpeg(pair))
        except RejectedPair:
            return ImageHash(f"unreadable:{pair.key}", None, b"")

    with (
        ThreadPoolExecutor(num_workers) as pool,
        ProgressLine("comparing images", len(pairs)) as progress,
    ):
        hashes = []
        for image in pool.map(hash_of, pairs):
            hashes.append(image)
            progress.advance()
    return [f"image:{pairs[number].key}" for number in group_images(hashes)]


def describe_repeated(repeated: RepeatedImages) -> str:
    """A phrase on the counts of `count_repeated`."""
    words = ", ".join(f"{len(keys):,} of {split}" for split, keys in repeated["keys"].items())
    return (
        f"{repeated['pairs']:,} pairs share their image with another, {repeated['across_splits']:,} across splits; "
        f"images also in training or earlier in their split: {words}"
    )
