"""Publishing a folder as one commit: the repository holds all files of it or none."""

from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi

from emoji_adapter.errors import InputError
from emoji_adapter.hub.failures import NETWORK_ERRORS, upload_error


def open_repository(repo: str, *, token: str | None = None, private: bool | None = None) -> str:
    """Make a repository unless it is there; nothing is written into one that is.

    Args:
        repo: "owner/name", or "name" for a repository of one's own.
        token: of a user that may write; None takes the one of `hf auth login` or HF_TOKEN.
        private: whether a new repository is private; None leaves it to the owner's settings.

    Returns:
        Its whole id, "owner/name".

    Raises:
        InputError: no such id can be.
        HubError: the token is refused, or the Hub does not answer.
    """
    try:
        return _api(token).create_repo(repo, private=private, exist_ok=True).repo_id
    except NETWORK_ERRORS as error:
        raise upload_error(error, repo) from error
    except ValueError as error:
        raise InputError(f"{repo!r} cannot be a repository: {error} Expected OWNER/NAME.") from error


def publish(
    folder: Path,
    repo: str,
    *,
    message: str,
    token: str | None = None,
    create_pr: bool = False,
    subfolder: str | None = None,
) -> str:
    """Write the files of a folder into a repository, all in one commit.

    Args:
        folder: whose files; folders in it are left out.
        repo: "owner/name", which exists.
        message: of the commit.
        token: see `open_repository`.
        create_pr: propose the commit instead of making it.
        subfolder: folder of the repository to write into.

    Returns:
        Address of the commit, or of the proposal.

    Raises:
        HubError: it broke off or was refused; the repository is then as it was.
    """
    prefix = f"{subfolder}/" if subfolder else ""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    operations = [CommitOperationAdd(prefix + file.name, str(file)) for file in files]
    try:
        commit = _api(token).create_commit(repo, operations, commit_message=message, create_pr=create_pr)
    except (*NETWORK_ERRORS, RuntimeError, ValueError) as error:  # both of the client's own, for large files
        raise upload_error(error, repo) from error
    return commit.pr_url or commit.commit_url


def _api(token: str | None) -> HfApi:
    return HfApi(token=token, library_name="emoji_adapter")
