"""The file system of `s3://`: s3fs as this project needs it. Imported where such a place is met; it takes a while.

Choices:
- No listing is remembered: what another task has written since must be seen.
- Requests are repeated by botocore (`attrgan.lake.s3.prepare`); s3fs on top only goes on with a body that broke off.
- Blocks of 8 MiB, parts of 16 MiB, four at a time: about 64 MiB of memory for a file of any size.
"""

from typing import Any

from fsspec.asyn import sync_wrapper
from s3fs import S3FileSystem

from attrgan.lake import s3

BLOCK = 8 << 20
PART = 16 << 20
_PARTS = 10_000


class Files(S3FileSystem):  # type: ignore[misc]
    """S3 as a file system whose failures are said in one sentence (`attrgan.lake.s3.explained`)."""

    retries = 3

    async def _call_s3(self, method: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super()._call_s3(method, *args, **kwargs)
        except Exception as error:
            if told := s3.explained(error, kwargs.get("Bucket")):
                raise told from None
            raise

    call_s3 = sync_wrapper(_call_s3)

    def upload(self, file: str, path: str, size: int) -> None:
        """Puts a local file of `size` bytes in a place, whole or not at all."""
        self.put_file(file, path, chunksize=max(PART, -(-size // _PARTS)))


def filesystem(timeout_seconds: int) -> Files:
    """The file system for the environment as it is."""
    s3.prepare()
    return Files(
        endpoint_url=s3.endpoint(),
        default_block_size=BLOCK,
        max_concurrency=4,
        use_listings_cache=False,
        config_kwargs={"connect_timeout": 5, "read_timeout": timeout_seconds},
    )
