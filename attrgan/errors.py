"""Every error that attrgan raises on purpose, and the exit code it ends a command with.

AttrGANError            1  a fault of ours
├── StoreError          1  an object store that did not answer, after all attempts: run it again
├── InputError          2  what was given cannot be used: the sentence says what, what was expected, what to do
│   ├── CatalogError       a catalog that cannot be read, or does not fit its schema
│   ├── SchemaError        a schema that is not one
│   ├── ModelError         a model folder or URI that is not one, or belongs to another schema
│   ├── MediaError         a picture that cannot be read; its level catches it, the item lacks the level
│   └── SettingsError      a setting that is missing or malformed
├── GateError           3  a gate said no (quality, audit, promotion); the outputs are there all the same
└── Interrupted       143  SIGTERM came, and what was done so far is kept: run it again (128 + 15, as shells say it)
"""


class AttrGANError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = 1


class StoreError(AttrGANError):
    """An object store did not answer."""


class InputError(AttrGANError):
    """What was given cannot be used."""

    exit_code = 2


class CatalogError(InputError):
    """The catalog cannot be read or does not fit its schema."""


class SchemaError(InputError):
    """The schema is not one."""


class ModelError(InputError):
    """The model is not one, or was trained for another schema."""


class MediaError(InputError):
    """The content of a media cell cannot be read. The message names no item, so that such errors can be counted."""


class SettingsError(InputError):
    """A setting is missing or malformed."""


class GateError(AttrGANError):
    """A gate said no."""

    exit_code = 3


class Interrupted(AttrGANError):  # noqa: N818 - not an error of anybody
    """The process was asked to end before its time."""

    exit_code = 143
