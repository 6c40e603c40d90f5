"""What goes wrong with the Hub, in words."""

from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from emoji_adapter.errors import EmojiAdapterError, HubError, WeightsNotFoundError

NETWORK_ERRORS: tuple[type[Exception], ...] = (HfHubHTTPError.__bases__[0], OSError)
"""What the client raises: the base error of its HTTP library (requests, httpx or httpx2), and `OSError`."""

_LOG_IN = "Log in with `hf auth login`, set HF_TOKEN or pass token="


def download_error(error: BaseException, repo: str, file: str, revision: str | None) -> EmojiAdapterError:
    """Why a file could not be fetched.

    Args:
        error: one of `NETWORK_ERRORS`.
        repo: id of the repository.
        file: path in it.
        revision: branch, tag or commit that was asked for.
    """
    if isinstance(error, GatedRepoError):
        return HubError(
            f"{repo!r} is gated. Ask its owner for access on https://huggingface.co/{repo}, then fetch "
            f"it with your token. {_LOG_IN}."
        )
    if _invalid_token(error):
        return HubError(
            f"The Hub does not accept the token that was sent to fetch {repo!r} (401). {_LOG_IN}."
        )
    for kind, reason in _reasons(file, revision):
        if isinstance(error, kind):
            return WeightsNotFoundError(
                f"Cannot load the adapter {repo!r}, which is no folder or file here: {reason}."
            )
    return HubError(
        f"The download of {file} from {repo!r} broke off ({_first_line(error)}). Nothing half is kept; try "
        "again."
    )


def upload_error(error: BaseException, repo: str) -> EmojiAdapterError:
    """Why an adapter could not be published.

    Args:
        error: what the client raised.
        repo: id of the repository.
    """
    status = _status(error)
    if status == 401:
        return HubError(
            f"The Hub does not accept the token for {repo!r} (401). {_LOG_IN}, with the right to write."
        )
    if status == 403:
        return HubError(
            f"The token may not write to {repo!r} (403). Use a token with the right to write there, name a "
            "repository of your own, or pass create_pr=True to propose the change."
        )
    if status == 404:
        return HubError(f"There is no repository {repo!r} on the Hub, or the token may not see it (404).")
    return HubError(
        f"The upload to {repo!r} broke off ({_first_line(error)}). It is one commit: the repository holds "
        "all of it or none. Push again."
    )


def _reasons(file: str, revision: str | None) -> list[tuple[type[Exception], str]]:
    """Why something is not there, by kind of error; the first that fits holds."""
    return [
        (
            RepositoryNotFoundError,
            "there is no such repository on the Hub, or it is private: then pass token=",
        ),
        (RevisionNotFoundError, f"it has no revision {revision!r}. Name a branch, a tag or a commit of it"),
        (
            LocalEntryNotFoundError,
            f"{file} is not in the cache, and the Hub was not asked or did not answer. Check the connection, "
            "HF_HUB_OFFLINE and local_files_only",
        ),
        (EntryNotFoundError, f"it holds no {file}. Pass subfolder= or weight_name="),
    ]


def _invalid_token(error: BaseException) -> bool:
    return _status(error) == 401 and not isinstance(error, RepositoryNotFoundError)


def _status(error: BaseException | None) -> int | None:
    """The HTTP status of an error, or of what caused it."""
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            return response.status_code
        error = error.__cause__
    return None


def _first_line(error: BaseException) -> str:
    """The innermost reason: the client wraps what the network said."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
