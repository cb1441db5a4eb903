"""Uploading an export to a model repository of the Hugging Face hub."""

import glob
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agents.sharing.export import EXPORT
from redteam_env.game import RedteamError
from redteam_env.utils.hub import quiet_hub


def files_of(folder: Path, told: Mapping[str, Any]) -> dict[str, int]:
    """Return the files of an export that are uploaded, with their sizes; what else lies there is not.

    Args:
        folder: The export.
        told: What its ``export.json`` says.
    """
    return {name: (folder / name).stat().st_size for name in sorted([*told["files"], EXPORT])}


def upload(folder: Path, told: Mapping[str, Any], repo: str, *, public: bool, api: Any) -> str:
    """Upload an export.

    Args:
        folder: The export.
        told: What its ``export.json`` says.
        repo: The repository, ``owner/name``; it is made if it is not there.
        public: Whether everybody may see it.
        api: huggingface_hub's ``HfApi``.

    Returns:
        The address of the repository.

    Raises:
        RedteamError: If the hub cannot be reached or refuses, or the repository is public already and is not
            to be.
    """
    try:
        with quiet_hub():
            made = api.create_repo(repo, private=not public, exist_ok=True, repo_type="model")
            if not public:
                _check_private(repo, api)
            api.upload_folder(
                repo_id=repo,
                repo_type="model",
                folder_path=folder,
                allow_patterns=[glob.escape(name) for name in files_of(folder, told)],
                commit_message="Weights trained with redteam-env",
            )
    except RedteamError:
        raise
    except Exception as error:  # the client has classes of its own for each thing that goes wrong
        lines = [*filter(None, map(str.strip, str(error).splitlines())), type(error).__name__]
        raise RedteamError(
            f"The export could not be pushed to {repo!r}: {lines[0]} (HF_TOKEN, or `hf auth login`, says who "
            f"you are)."
        ) from error
    return str(made)


def _check_private(repo: str, api: Any) -> None:
    """Refuse a repository that was there before and that everybody may see."""
    if not api.repo_info(repo, repo_type="model").private:
        raise RedteamError(
            f"The repository {repo!r} is there and public. Give --public if everybody may see this export, "
            "or name another repository."
        )
