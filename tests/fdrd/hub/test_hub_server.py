"""Outages of the test Hub, as the real client sees them."""

import httpx2
import pytest
from huggingface_hub import HfApi


@pytest.mark.parametrize(("outage", "arrived"), [("lose", True), ("drop", False)])
def test_outages_happen_where_they_are_injected(hub, writer_token, outage, arrived):
    api = HfApi(token=writer_token)
    api.create_repo("org/data", repo_type="dataset")
    hub.fail("POST", "/commit/", outage)
    with pytest.raises(httpx2.HTTPError):
        api.upload_file(
            path_or_fileobj=b"1", path_in_repo="a.txt", repo_id="org/data", repo_type="dataset"
        )
    assert api.file_exists("org/data", "a.txt", repo_type="dataset") == arrived
