"""Finds the file that a table means: by the name in a column or by the key, as file systems and people vary names."""

from __future__ import annotations

import difflib
import re
import shlex
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath

from shards.data_files import IMAGE_SUFFIXES, SOUND_SUFFIXES, data_files, data_files_below
from shards.errors import RejectedPair, UserError
from shards.sources.file_columns import column_of_files
from shards.sources.table_roles import Rows, plain_name

COMPARED_NAMES = 2000
COMPARED_MISSES = 50
"""Limits of the search for similar names, whose time grows with both."""

Choose = Callable[[Sequence[Path]], Path]
"""Which of several files with one stem is meant."""


class NamedFiles:
    """The files of one kind of a corpus.

    Args:
        root: folder of the corpus.
        folder: name of their folder in it; names with another folder are looked for in `root`.
        suffixes: of the files, in lower case.
        kind: "image" or "sound", for messages.
        choose: which of several files with one stem is meant.
        rule: how `choose` decides, as a phrase.
        ending: what follows the key in the message of a missing file; by default all suffixes.
        follow_links: whether symbolic links may lead out of the corpus.
    """

    def __init__(
        self,
        root: Path,
        folder: str,
        suffixes: tuple[str, ...],
        *,
        kind: str,
        choose: Choose,
        rule: str,
        ending: str = "",
        follow_links: bool = False,
    ) -> None:
        self.root, self.folder, self.suffixes, self.kind = root, _folder_as_written(root, folder), suffixes, kind
        self._choose, self._rule = choose, rule
        self._ending = ending or f" with {', '.join(suffixes)}"
        self._matched: Counter[str] = Counter()
        self._misses = 0
        self._follow_links = follow_links
        self._inner_folders: dict[Path, bool] = {}

    def list_folder(self, columns: Sequence[str] = (), rows: Rows = ()) -> None:
        """Lists the folder, which a corpus must have if its files are named by key.

        Args:
            columns, rows: of the table, to name the column of the files.

        Raises:
            UserError: the folder is missing or can't be read.
        """
        try:
            self._by_stem  # noqa: B018 - listed on first use
        except UserError as error:
            if not columns:
                raise
            fitting = column_of_files(self.root, columns, rows, self.suffixes)
            hint = f"; --column {self.kind}={shlex.quote(fitting)} fits" if fitting is not None else ""
            raise UserError(f"{error}; the table's columns are: {', '.join(columns)}{hint}") from error

    @property
    def all_files(self) -> list[Path]:
        """The files directly in the folder; none if there is no such folder."""
        return [path for paths in self._by_stem.values() for path in paths] if self._place.is_dir() else []

    def of_key(self, *stems: str) -> Path:
        """The file of a key, whose stem is the key: exactly, else in another case or Unicode form.

        Args:
            stems: the key as the table has it, and as the sample is named.

        Raises:
            RejectedPair: there is none, several that differ in more than their suffix, or a link out of the corpus.
            UserError: the folder can't be listed.
        """
        return self._within(self._of_key(*stems))

    def _of_key(self, *stems: str) -> Path:
        for stem in stems:
            if stem in self._by_stem:
                return self._one_of(self._by_stem[stem], stem)
        for stem in stems:
            if found := self._by_plain_stem.get(_folded(stem)):
                self._matched["ignoring case or Unicode form"] += 1
                return self._one_of(found, stem)
        raise RejectedPair(
            f"missing {self.kind}",
            f"no {self.folder}/{stems[0]}{self._ending}{self._near(stems[0])}",
        )

    def has_key(self, *stems: str) -> bool:
        """Whether `of_key` finds something."""
        return self._place.is_dir() and any(s in self._by_stem or _folded(s) in self._by_plain_stem for s in stems)

    def named(self, name: str, column: str) -> Path:
        """The file with a name: exactly, else in another case or Unicode form, without suffix, or without folder.

        Args:
            name: as the table has it, with or without a folder: of `folder`, or of `root`.
            column: where it stands, for messages.

        Raises:
            RejectedPair: there is none, several, or a link out of the corpus.
        """
        return self._within(self._named(name, column))

    def _named(self, name: str, column: str) -> Path:
        wanted = PurePosixPath(name.replace("\\", "/"))
        is_inside = not (wanted.is_absolute() or PureWindowsPath(name).drive or ".." in wanted.parts)
        if is_inside:
            for place in (self._place, self.root):
                if _is_file(place / wanted):
                    return place / wanted
        for how, found in self._alike(wanted, is_inside=is_inside):
            if found:
                self._matched[how] += 1
                return self._one_of(found, name)
        if not is_inside:
            raise RejectedPair(f"missing {self.kind}", f"{column} {name!r} does not lie in {self.folder}/")
        raise RejectedPair(f"missing {self.kind}", f"no {self.folder}/{name}{self._near(wanted.name)}")

    def notices(self) -> list[str]:
        """Sentences on which files were taken where the table leaves a choice."""
        matched = dict(self._matched)
        several = matched.pop("several", 0)
        sentences = [f"{count} {self.kind}s found {how}" for how, count in sorted(matched.items())]
        notices = [f"{', '.join(sentences)} of their names in the table"] if sentences else []
        if several:
            notices.append(f"{several} {self.kind}s have several files with one name; {self._rule} is taken")
        return notices

    def _within(self, path: Path) -> Path:
        """The file, unless it is a link out of the corpus, or lies in a folder that is one.

        Raises:
            RejectedPair: it is, and such links are not to be followed.
        """
        if self._follow_links:
            return path
        if path.parent not in self._inner_folders:
            self._inner_folders[path.parent] = self._is_inside(path.parent)
        if self._inner_folders[path.parent] and (not path.is_symlink() or self._is_inside(path)):
            return path
        raise RejectedPair(
            "link out of the corpus",
            f"{path.relative_to(self.root).as_posix()} leads out of --root; give --follow-links if you made the links",
        )

    def _is_inside(self, path: Path) -> bool:
        return path.resolve().is_relative_to(self.root.resolve())

    @property
    def _place(self) -> Path:
        return self.root / self.folder

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = defaultdict(list)
        try:
            for path in data_files(self._place, self.suffixes):
                found[path.stem].append(path)
        except OSError as error:
            raise UserError(
                f"{self._place} can't be listed ({error.strerror}); a corpus has a table and {self.folder}/ in its "
                f"--root, or names its files in a column: --column {self.kind}=NAME"
            ) from error
        return dict(found)

    @cached_property
    def _by_plain_stem(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = defaultdict(list)
        for stem, paths in self._by_stem.items():
            found[_folded(stem)].extend(paths)
        return dict(found)

    @cached_property
    def _below(self) -> list[Path]:
        """All files of the folder, or of the root if there is no such folder."""
        return data_files_below(self._place if self._place.is_dir() else self.root, self.suffixes)

    @cached_property
    def _by_path(self) -> dict[str, list[Path]]:
        """Files by their folded path below the folder and below the root, with and without suffix."""
        found: dict[str, list[Path]] = defaultdict(list)
        for path in data_files_below(self.root, self.suffixes):
            relatives = [path.relative_to(self.root)]
            if path.is_relative_to(self._place):
                relatives.append(path.relative_to(self._place))
            for relative in relatives:
                found[_folded(relative.as_posix())].append(path)
                found[_folded(relative.with_suffix("").as_posix()) + "/"].append(path)
        return dict(found)

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        """Files by their folded name, with and without suffix."""
        found: dict[str, list[Path]] = defaultdict(list)
        for path in self._below:
            found[_folded(path.name)].append(path)
            found[_folded(path.stem) + "/"].append(path)
        return dict(found)

    def _alike(self, wanted: PurePosixPath, *, is_inside: bool) -> Iterator[tuple[str, list[Path]]]:
        """Files whose names are alike, the most alike first, with a phrase of what differs."""
        has_suffix = wanted.suffix.lower() in (*IMAGE_SUFFIXES, *SOUND_SUFFIXES)
        if is_inside:
            yield "ignoring case or Unicode form", self._by_path.get(_folded(wanted.as_posix()), [])
            if not has_suffix:
                yield "without the suffix", self._by_path.get(_folded(wanted.as_posix()) + "/", [])
        yield "without the folder", self._by_name.get(_folded(wanted.name), [])
        if not has_suffix:
            yield "without folder and suffix", self._by_name.get(_folded(wanted.name) + "/", [])

    def _one_of(self, found: Sequence[Path], name: str) -> Path:
        """The file that is meant of those with a name.

        Raises:
            RejectedPair: they differ in more than their suffix.
        """
        if len(found) == 1:
            return found[0]
        if len({path.with_suffix("") for path in found}) > 1:
            names = " and ".join(path.relative_to(self.root).as_posix() for path in found[:3])
            raise RejectedPair(f"ambiguous {self.kind}", f"{name!r} may be {names}")
        self._matched["several"] += 1
        return self._choose(found)

    @cached_property
    def _plain_stems(self) -> dict[str, Path]:
        """File by the letters and digits of its stem."""
        return {plain_name(path.stem): path for path in reversed(self._below)}

    def _near(self, name: str) -> str:
        """The most similar name with the same numbers, as the end of a sentence, or nothing."""
        stem = PurePosixPath(name).stem if name.lower().endswith(self.suffixes) else name
        plain, numbers = plain_name(stem), _numbers(stem)
        near = self._plain_stems.get(plain)
        self._misses += 1
        if near is None and self._misses <= COMPARED_MISSES and len(self._plain_stems) <= COMPARED_NAMES:
            stems = [other for other, path in self._plain_stems.items() if _numbers(path.stem) == numbers]
            near = next((self._plain_stems[other] for other in difflib.get_close_matches(plain, stems, 1, 0.8)), None)
        return f"; did you mean {near.name!r}?" if near is not None and _numbers(near.stem) == numbers else ""


def image_files(root: Path, *, follow_links: bool = False) -> NamedFiles:
    """The images of a corpus, in images/."""
    rule = "the one with the most pixels (of equal ones a TIFF)"
    return NamedFiles(
        *(root, "images", IMAGE_SUFFIXES), kind="image", choose=largest_raster, rule=rule, follow_links=follow_links
    )


def sound_files(root: Path, *, follow_links: bool = False) -> NamedFiles:
    """The sounds of a corpus, in audio/."""
    rule = "the largest file"
    return NamedFiles(
        *(root, "audio", SOUND_SUFFIXES), kind="sound", choose=largest_file, rule=rule, follow_links=follow_links
    )


def released_files(root: Path, folder: str, *, kind: str, follow_links: bool = False) -> NamedFiles:
    """JPEGs of SoundingEarth's release, in one of its folders."""
    choose, rule = largest_file, "the largest file"
    suffixes = (".jpg", ".jpeg")
    return NamedFiles(
        *(root, folder, suffixes), kind=kind, choose=choose, rule=rule, ending=".jpg", follow_links=follow_links
    )


def largest_raster(paths: Sequence[Path]) -> Path:
    """The image with the most pixels; of equal ones a TIFF, then the first by name."""
    from shards.decoding.image_size import image_size

    def pixels(path: Path) -> int:
        try:
            width, height = image_size(path)
        except (RejectedPair, OSError):
            return -1
        return width * height

    return min(paths, key=lambda path: (-pixels(path), path.suffix.lower() not in (".tif", ".tiff"), path.name))


def largest_file(paths: Sequence[Path]) -> Path:
    """The file with the most bytes; of equal ones the first by name."""
    return min(paths, key=lambda path: (-path.stat().st_size, path.name))


def _folded(name: str) -> str:
    """A name as file systems that ignore case and Unicode forms compare it."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _numbers(text: str) -> list[int]:
    """The numbers in a name: recordings 1 and 2 are not alike, 1 and 01 may be."""
    return [int(digits) for digits in re.findall(r"[0-9]+", text)]


def _folder_as_written(root: Path, folder: str) -> str:
    """The name of a folder as it is on the disk, such as Images for images; the given one if there is none."""
    if (root / folder).is_dir() or not root.is_dir():
        return folder
    return next((entry.name for entry in sorted(root.iterdir()) if _folded(entry.name) == folder), folder)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
