"""Outages of the test Hub, as the real client sees them."""

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

HTTP_ERROR = HfHubHTTPError.__mro__[1]
"""The base class of the HTTP library that the client uses: httpx before huggingface_hub 2, then httpx2."""


@pytest.mark.parametrize(("outage", "arrived"), [("lose", True), ("drop", False)])
def test_outages_happen_where_they_are_injected(hub, writer_token, outage, arrived):
    api = HfApi(token=writer_token)
    api.create_repo("org/data", repo_type="dataset")
    hub.fail("POST", "/commit/", outage)
    with pytest.raises(HTTP_ERROR):
        api.upload_file(
            path_or_fileobj=b"1", path_in_repo="a.txt", repo_id="org/data", repo_type="dataset"
        )
    assert api.file_exists("org/data", "a.txt", repo_type="dataset") == arrived
