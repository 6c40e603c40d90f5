"""The errors that a user can meet. Every message says what, got, expected, what to do."""


class EmojiAdapterError(Exception):
    """Base of all errors raised on purpose by this package."""


class InputError(EmojiAdapterError, ValueError):
    """An argument has a value that cannot be used."""


class ImageError(InputError):
    """A picture cannot be read."""


class FaceError(InputError):
    """A picture does not hold the face that is needed."""


class NoFaceError(FaceError):
    """No face was found."""


class SeveralFacesError(FaceError):
    """More than one face was found and the policy forbids to choose."""


class FaceTooSmallError(FaceError):
    """The face is too small to be read."""


class AdapterFormatError(EmojiAdapterError, ValueError):
    """A file is not an adapter of ours, is damaged, or is of a later format."""


class AdapterMismatchError(EmojiAdapterError, ValueError):
    """An adapter does not fit the model, or the encoders, that it is used with."""


class WeightsNotFoundError(EmojiAdapterError, FileNotFoundError):
    """A weight file or folder is missing."""


class HubError(EmojiAdapterError, OSError):
    """The Hugging Face Hub refuses a request, or a transfer broke off."""


class WeightsFormatError(EmojiAdapterError, ValueError):
    """A weight file is damaged or holds another kind of model than is needed."""


class DataError(EmojiAdapterError, ValueError):
    """A training set is empty, damaged or of another kind than is needed."""


class TrainingError(EmojiAdapterError, RuntimeError):
    """A training run cannot go on."""


class MissingExtraError(EmojiAdapterError, ImportError):
    """An optional dependency is not installed."""
