"""One word changes, and every other byte stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle_batch.config.editing import switched


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"A": {"enabled": false}}', '{"A": {"enabled": true}}'),
        ('{ "A" : { "enabled" :\n false , "x": 1 } }\n', '{ "A" : { "enabled" :\n true , "x": 1 } }\n'),
        ('{"A": {}}', '{"A": {"enabled": true}}'),
        ('{"A": {"x": 1}}', '{"A": {"enabled": true, "x": 1}}'),
        ('{\n  "A": {\n    "x": 1\n  }\n}', '{\n  "A": {\n    "enabled": true,\n    "x": 1\n  }\n}'),
        ('{\r\n\t"A": {\r\n\t\t"x": 1}}', '{\r\n\t"A": {\r\n\t\t"enabled": true,\r\n\t\t"x": 1}}'),
        (
            '{"_A": "\\"A\\": {\\"enabled\\": false}", "B": {"enabled": 0}, "A": {"_enabled": "{", "enabled": false}}',
            '{"_A": "\\"A\\": {\\"enabled\\": false}", "B": {"enabled": 0}, "A": {"_enabled": "{", "enabled": true}}',
        ),
        ('\ufeff{"A": {"enabled": false}}', '\ufeff{"A": {"enabled": true}}'),
        ('{"\\u0041": {"enabled": false}}', '{"\\u0041": {"enabled": true}}'),
        ('{"A": {"_deep": {"enabled": false}}}', '{"A": {"enabled": true, "_deep": {"enabled": false}}}'),
    ],
)
def test_only_the_word_changes(before: str, after: str) -> None:
    assert switched(before.encode(), "A", True) == after.encode()
    assert switched(after.encode(), "A", True) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"A": {"enabled": true}}', '{"A": {"enabled": true}, "B": {"enabled": false}}'),
        (
            '{\n  "_c": "x",\n  "A": {\n    "lot": 1\n  }\n}\n',
            '{\n  "_c": "x",\n  "A": {\n    "lot": 1\n  },\n  "B": {\n    "enabled": false,\n    "lot": 1\n  }\n}\n',
        ),
    ],
)
def test_an_entry_that_is_not_there_is_a_copy_at_the_end(before: str, after: str) -> None:
    assert switched(before.encode(), "B", False, like="A") == after.encode()
    assert switched(after.encode(), "B", False, like="A") is None


def test_what_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        switched(b'{"A": {}}', "B", True)
    with pytest.raises(KeyError):
        switched(b'{"A": {}}', "B", True, like="C")


keys = st.text(min_size=1, max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=2),
    max_leaves=4,
)


@given(
    content=st.dictionaries(
        keys, st.dictionaries(keys | st.just("enabled"), values, max_size=3), min_size=1, max_size=4
    ),
    data=st.data(),
    enabled=st.booleans(),
    indent=st.sampled_from([None, 0, 2, "\t"]),
    escaped=st.booleans(),
    new=st.none() | keys,
)
def test_any_file_means_the_same_but_for_one_entry(
    content: dict[str, Any], data: st.DataObject, enabled: bool, indent: Any, escaped: bool, new: str | None
) -> None:
    key = data.draw(st.sampled_from(sorted(content)))
    target = key if new is None else new
    before = json.dumps(content, indent=indent, ensure_ascii=escaped).encode()
    after = json.loads(switched(before, target, enabled, like=key) or before)
    entry = content.get(target, content[key])
    assert after == {**content, target: {**entry, "enabled": enabled}}
    assert set(after[target]) - set(entry) <= {"enabled"}
    assert after[target]["enabled"] is enabled
