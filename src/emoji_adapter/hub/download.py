"""Fetching a file of a repository, from the cache or the Hub."""

from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download

from emoji_adapter.errors import InputError
from emoji_adapter.hub.failures import NETWORK_ERRORS, download_error


def fetch(repo: str, file: str, *, subfolder: str | None = None, **where: Any) -> Path:
    """Where a file of a repository lies in the cache, fetched if it is not there.

    Args:
        repo: id of the repository, "owner/name".
        file: its name.
        subfolder: folder of the repository that holds it.
        **where: revision, token, cache_dir, local_files_only, force_download, of `hf_hub_download`.

    Raises:
        WeightsNotFoundError: there is no such repository, revision or file, or no way to it.
        HubError: the token is refused, the repository is gated, or the download broke off.
        InputError: arguments that contradict each other.
    """
    path, revision = f"{subfolder}/{file}" if subfolder else file, where.get("revision")
    try:
        return Path(hf_hub_download(repo, file, subfolder=subfolder, **where))
    except NETWORK_ERRORS as error:
        raise download_error(error, repo, path, revision) from error
    except ValueError as error:  # force_download without a connection, or with local_files_only
        if error.__cause__ is None:
            raise InputError(f"Cannot load the adapter {repo!r}: {error}") from error
        raise download_error(error.__cause__, repo, path, revision) from error
