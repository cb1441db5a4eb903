"""Where a judge's prompt text stands, when it is not ours to retype: one member of a published wheel.

The member is fetched once, verified and read; nothing of it is imported or run. Python source gives a
string constant, YAML the text under a key, any other file its whole text.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redteam_env.game import RedteamError, check_fields
from redteam_env.utils.constants import constants_in
from redteam_env.utils.packages import Member, fetch
from redteam_env.utils.reading import MOST_BYTES_OF_TOML, read_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A text inside a file of a published wheel.

    Attributes:
        package: Name of the package on the registry.
        version: Its version.
        member: Path of the file inside the wheel.
        member_sha256: Checksum of that file, in hex.
        constant: In Python source, the name of the string, perhaps in a class: ``Judge.PROMPT``.
        key: In YAML, the key of the text, or of the list of :meth:`entries`.
        sha256: Checksum of the text in UTF-8, in hex; empty for a list.
    """

    package: str
    version: str
    member: str
    member_sha256: str
    constant: str | None = None
    key: str | None = None
    sha256: str = ""

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def shown(self) -> str:
        """What is fetched, as messages name it."""
        return f"{self.member!r} of the package {self.package}=={self.version}"

    def text(self) -> str:
        """Return the text, fetching its wheel once.

        Raises:
            RedteamError: If the wheel cannot be had, lacks the text, or a checksum differs.
        """
        content = self._content()
        if self.constant is not None:
            content = self._constant(content, self.constant)
        elif self.key is not None:
            content = _text_under(self._yaml(content), self.key, self.member)
        found = hashlib.sha256(content.encode()).hexdigest()
        if found != self.sha256:
            raise RedteamError(
                f"The text in {self.member} of {self.package} {self.version} has the SHA-256 {found}, "
                f"not {self.sha256}, which its card was made for. Name a template_file instead."
            )
        return content

    def entries(self) -> list[Mapping[str, Any]]:
        """Return the tables in the list under the key.

        Raises:
            RedteamError: If the wheel cannot be had, or has no such list.
        """
        table = self._yaml(self._content())
        found = table.get(self.key) if isinstance(table, Mapping) else None
        if not isinstance(found, list) or not all(isinstance(x, Mapping) for x in found):
            raise RedteamError(
                f"{self.member} of {self.package} has no list {self.key!r} of tables."
            )
        return found

    def _constant(self, content: str, name: str) -> str:
        found = constants_in(content, self.member)
        if name not in found:
            raise RedteamError(
                f"{self.member} of {self.package} defines no string {name}; name a template_file instead."
            )
        return found[name]

    def _content(self) -> str:
        member = Member(
            project=self.package,
            version=self.version,
            name=self.member,
            sha256=self.member_sha256,
        )
        file = fetch(member)
        try:
            return read_text(file, most=MOST_BYTES_OF_TOML)
        except RedteamError as error:
            raise RedteamError(f"{self.member} of {self.package}: {error}") from error

    def _yaml(self, content: str) -> Any:
        import yaml  # noqa: PLC0415 - slow to import, and read by few cards

        try:
            documents = [x for x in yaml.safe_load_all(content) if x is not None]
        except (yaml.YAMLError, RecursionError) as error:
            raise RedteamError(f"{self.member} of {self.package} is no YAML: {error}.") from error
        return documents[0] if documents else None


def _text_under(table: Any, key: str, member: str) -> str:
    found = table.get(key) if isinstance(table, Mapping) else None
    if not isinstance(found, str):
        raise RedteamError(f"{member} has no text {key!r}; name a template_file instead.")
    return found


def file_text(path: str | Path) -> str:
    """Return the text of a template file that a user names.

    Raises:
        RedteamError: If it cannot be read.
    """
    try:
        return read_text(Path(path).expanduser(), most=MOST_BYTES_OF_TOML)
    except OSError as error:
        raise RedteamError(
            f"The template file {str(path)!r} cannot be read: {error.strerror}. Give a UTF-8 text file."
        ) from error
