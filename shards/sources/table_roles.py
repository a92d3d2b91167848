"""Which column of a table is the key, a coordinate, a file or a property: as the user says, else by usual names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shards.data_files import IMAGE_SUFFIXES, SOUND_SUFFIXES
from shards.errors import UserError
from shards.registry import nearest
from shards.sources.coordinates import LATITUDE_AXIS, LONGITUDE_AXIS, Axis, parse_coordinate

Rows = Sequence[tuple[int, dict[str, str]]]

_ROLE_OF_NAME = {"longitude": "longitude", "latitude": "latitude", "key": "key", "mp3name": "sound"}
"""Names that always have this role, before any guess."""

_PROPERTIES = {
    "label": "label scene | class category habitat klasse landuse landcover cls",
    "title": "title | titel",
    "description": "description | beschreibung notes comment cmt desc remarks bemerkung caption audiocaption text txt",
    "creator": "creator | author recordist recordedby autor urheber",
    "licence": "licence license licenseurl | licenceurl lizenz rights",
    "date_recorded": "date_recorded | daterecorded recordedat recordingdate date datetime timestamp datum time",
    "recording": "recording |",
    "long_key": "long_key |",
}
"""Names of columns that become properties of a sample: as documented, and after the bar, tried next."""

_TIERS = {
    "longitude": (
        "longitude lon long lng longdeg londeg longitudedeg longitudewgs84 decimallongitude decimallon gpslongitude "
        "gpslon gpslong gpslng lange laenge langengrad laengengrad geolange longitud longitudine",
        "x xcoord xcoordinate coordx pointx",
    ),
    "latitude": (
        "latitude lat latdeg latitudedeg latitudewgs84 decimallatitude decimallat gpslatitude gpslat breite "
        "breitengrad geobreite latitud latitudine",
        "y ycoord ycoordinate coordy pointy",
    ),
    "sound": (
        "soundfile soundfilename soundname audiofile audiofilename audioname recordingfile recordingfilename wavfile "
        "wavname wavefile mp3file tondatei audiodatei aufnahmedatei klangdatei filenameaudio",
        "? sound audio recording wav wave mp3 flac aufnahme tonaufnahme ton clip track",
        "? file filename filepath path datei dateiname name",
    ),
    "image": (
        "imagefile imagefilename imagename tilefile tilename chipfile chipname rasterfile rastername bilddatei "
        "luftbilddatei kacheldatei filenameimage",
        "? image img picture photo tile chip patch raster tif tiff geotiff jpg jpeg png bild kachel ortho orthophoto "
        "aerial aerialimage aerialphoto satelliteimage luftbild satellitenbild",
        "? file filename filepath path datei dateiname name",
    ),
    "key": (
        "id identifier uid uuid fid pairid recordid sampleid kennung",
        "site siteid sitename sitecode siteno plot plotid point pointid station stationid location locationid standort "
        "standortid punkt number nummer nr code",
        "name",
    ),
}
"""Usual names of columns, the surest first; of those after "?", most values must be names of such files."""

ROLES = (*_TIERS, *_PROPERTIES)
_ALIASES = {"license": "licence", "lon": "longitude", "lat": "latitude"}
_SUFFIXES = {"sound": SOUND_SUFFIXES, "image": IMAGE_SUFFIXES}

_UNIT = re.compile(r"\([^)]*\)|\[[^]]*\]|\{[^}]*\}|[,/ ]*°.*$")
"""What follows a name: a bracket, or a degree sign and the rest."""
_DEGREES = "deg degs degree degrees grad dezimalgrad decimal dezimal dd n s e o w wgs 84 wgs84 epsg 4326"
_MEASURES = "m km cm mm ft s sec secs second seconds sek sekunden ms min minutes minuten h hours hz khz db"
"""Units of columns that are a length, a time or a level, not what their name alone says."""

MIN_DISTINCT = 0.9
"""A column with fewer different values than this share of its rows is not guessed to be the key."""


@dataclass(frozen=True)
class Roles:
    """Which columns mean what.

    Attributes:
        columns: column of each of key, longitude, latitude, image and sound that the table has.
        properties: columns of each property; the first with a value is used.
        guessed: roles, of both kinds, that were found by a usual name rather than a documented one.
    """

    columns: Mapping[str, str]
    properties: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    guessed: tuple[str, ...] = ()

    def notices(self) -> list[str]:
        """One sentence on what was guessed; none if nothing was."""
        if not self.guessed:
            return []
        first = {**self.columns, **{role: names[0] for role, names in self.properties.items()}}
        words = ", ".join(f"{role} from {first[role]!r}" for role in self.guessed)
        return [f"columns: {words} (override with --column role=NAME)"]


def plain_name(name: str) -> str:
    """A column's name as it is compared: letters a-z and digits alone, without case, accents and spaces."""
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    return re.sub(r"[^a-z0-9]", "", decomposed)


def compared_names(name: str, *, is_coordinate: bool = False) -> set[str]:
    """The plain names that a column may go by: the whole, and without brackets and units, such as in "Länge (°O)".

    Args:
        name: as the table has it.
        is_coordinate: units other than degrees are left, since "Länge (m)" is no longitude.
    """
    bare, bracket = _UNIT.sub(" ", name), " ".join(_UNIT.findall(name))
    words = set(re.findall(r"[a-z0-9]+", unicodedata.normalize("NFKD", bracket.casefold())))
    is_other = bool(words - set(_DEGREES.split())) if is_coordinate else bool(words & set(_MEASURES.split()))
    return {plain_name(name)} if is_other else {plain_name(name), plain_name(bare)}


def is_usual(name: str) -> bool:
    """Whether a column of that name has, or could have, a role."""
    return bool(compared_names(name) & _KNOWN)


def parse_columns(words: Sequence[str]) -> tuple[dict[str, str], str | None]:
    """Separates the values of --column: `role=NAME` gives a role, a value without "=" is the column to split by.

    Returns:
        Column of each role, and the column to split by or None.

    Raises:
        UserError: an unknown role, one given twice, or two columns to split by.
    """
    given: dict[str, str] = {}
    split_column: str | None = None
    for word in words:
        role, equals, name = word.partition("=")
        role = _ALIASES.get(role.strip().lower(), role.strip().lower())
        if not equals:
            if split_column is not None:
                raise UserError(f"--column names two columns to split by, {split_column!r} and {word!r}; give one")
            split_column = word
        elif role not in ROLES:
            raise UserError(f"--column {word}: unknown role {role!r}; {nearest(role, ROLES)}choose: {', '.join(ROLES)}")
        elif role in given or not name.strip():
            rule = "is given twice" if role in given else "needs the name of a column"
            raise UserError(f"--column {word}: role {role} {rule}; give {role}=NAME once")
        else:
            given[role] = name.strip()
    return given, split_column


def property_names() -> tuple[str, ...]:
    """Names of the properties that a sample can have."""
    return tuple(_PROPERTIES)


def find_roles(
    where: str,
    columns: Sequence[str],
    rows: Rows,
    given: Mapping[str, str] | None = None,
    *,
    sought: Sequence[str] = tuple(_TIERS),
) -> Roles:
    """Finds the roles of a table's columns.

    Args:
        where: the file, for messages.
        columns: names of the columns.
        rows: the rows; values decide where a name alone says too little.
        given: columns of roles that the user named.
        sought: which of key, longitude, latitude, image and sound are looked for.

    Raises:
        UserError: a named column does not exist, or several columns fit a role equally well; all such roles are named.
    """
    named = {role: _named_column(where, columns, role, name) for role, name in (given or {}).items()}
    found = {role: name for role, name in named.items() if role in _TIERS}
    for name in columns:
        role = _ROLE_OF_NAME.get(name)
        if role is not None and role in sought and role not in found and name not in found.values():
            found[role] = name
    guessed: list[str] = []
    doubtful: list[str] = []
    taken = {*named.values(), *found.values()}
    # The key comes last: a column of file names is no key.
    for role in _TIERS:
        if role in found or role not in sought:
            continue
        candidates = _candidates(role, [name for name in columns if name not in taken], rows)
        if len(candidates) > 1:
            doubtful.append(f"{role} may be {' or '.join(map(repr, candidates))} (--column {role}={candidates[0]!r})")
        elif candidates:
            found[role] = candidates[0]
            taken.add(candidates[0])
            guessed.append(role)
    if doubtful:
        raise UserError(f"{where}: {'; '.join(doubtful)}; say which with --column role=NAME")
    _drop_half_guesses(found, guessed)
    properties, from_synonyms = _find_properties(columns, named, {found[role] for role in found if role != "key"})
    return Roles(found, properties, (*(role for role in guessed if role in found), *from_synonyms))


def _named_column(where: str, columns: Sequence[str], role: str, name: str) -> str:
    if name in columns:
        return name
    for shown in (columns, [_UNIT.sub(" ", column) for column in columns]):
        alike = [column for column, text in zip(columns, shown, strict=True) if plain_name(text) == plain_name(name)]
        if len(alike) == 1:
            return alike[0]
    raise UserError(
        f"--column {role}={name}: {where} has no such column; {nearest(name, columns)}choose one of: "
        f"{', '.join(columns)}"
    )


def _candidates(role: str, columns: Sequence[str], rows: Rows) -> list[str]:
    """The columns that fit a role by the surest names that any column has."""
    for tier in _TIERS[role]:
        names = set(tier.split())
        is_coordinate = role in ("longitude", "latitude")
        fitting = [column for column in columns if compared_names(column, is_coordinate=is_coordinate) & names]
        if role == "key":
            fitting = [column for column in fitting if _is_distinct(column, rows)]
        elif "?" in names:
            fitting = [column for column in fitting if _names_files(column, rows, _SUFFIXES[role])]
        elif tier.startswith(("x ", "y ")):
            axis = LONGITUDE_AXIS if role == "longitude" else LATITUDE_AXIS
            fitting = [column for column in fitting if _is_in_degrees(column, rows, axis)]
        if fitting:
            return fitting
    return []


def _is_distinct(column: str, rows: Rows) -> bool:
    values = [row[column] for _, row in rows if row[column]]
    return len(set(values)) >= MIN_DISTINCT * max(1, len(values))


def _names_files(column: str, rows: Rows, suffixes: tuple[str, ...]) -> bool:
    """Whether at least half of the values are names of such files, and not addresses on the web."""
    values = [row[column].lower() for _, row in rows if row[column]]
    return bool(values) and 2 * sum(v.endswith(suffixes) and "://" not in v for v in values) >= len(values)


def _is_in_degrees(column: str, rows: Rows, axis: Axis) -> bool:
    """Whether no readable value is out of range, as metres of a map grid would be."""
    for _, row in rows:
        try:
            if row[column] and abs(parse_coordinate(row[column], axis)) > axis.limit:
                return False
        except ValueError:
            continue
    return True


def _drop_half_guesses(found: dict[str, str], guessed: Sequence[str]) -> None:
    """One coordinate alone, found by a guess, is none."""
    for role, other in (("longitude", "latitude"), ("latitude", "longitude")):
        if role in guessed and other not in found:
            del found[role]


def _find_properties(
    columns: Sequence[str], named: Mapping[str, str], taken: set[str]
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    properties: dict[str, tuple[str, ...]] = {}
    guessed: list[str] = []
    for role, names in _PROPERTIES.items():
        documented, _, usual = (part.split() for part in names.partition("|"))
        if role in named:
            properties[role] = (named[role],)
        elif present := tuple(name for name in documented if name in columns):
            properties[role] = present
        else:
            known = {*map(plain_name, documented), *usual}
            fitting = tuple(name for name in columns if compared_names(name) & known and name not in taken)
            if fitting:
                properties[role] = fitting
                guessed.append(role)
    return properties, guessed


_KNOWN = {
    plain_name(word)
    for text in (*(tier for tiers in _TIERS.values() for tier in tiers), *_PROPERTIES.values(), *_ROLE_OF_NAME)
    for word in text.split()
} - {""}
