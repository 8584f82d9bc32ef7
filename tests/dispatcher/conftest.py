"""What the dispatcher's tests share."""

import pytest
from tokenizers import Tokenizer

from sgl_conveyor import embedded_model


@pytest.fixture(scope="session")
def tokenizer():
    """The embedded model's tokenizer."""
    return Tokenizer.from_file(str(embedded_model.ensure() / "tokenizer.json"))
