"""Every requirement of the protocol that concerns the client is named by a test."""

from __future__ import annotations

from pathlib import Path

from tests import checklist


def test_nothing_is_uncovered() -> None:
    """Each requirement has a test, or a reason why it needs none."""
    assert checklist.uncovered(Path(__file__).parent) == []
    assert all(checklist.LEFT_OUT.values())


def test_what_is_counted(tmp_path: Path) -> None:
    """Only docstrings of tests count: neither comments, nor other functions, nor other files."""
    (tmp_path / "test_one.py").write_text(
        '"""K-01"""\n# K-02\ndef test_a() -> None:\n    """K-03, E-04: x."""\ndef b() -> None:\n    """K-05"""\n'
        'class TestC:\n    """W-01: x."""\n    def test_d(self) -> None:\n        """K-03 again, XK-06, K-071."""\n'
    )
    (tmp_path / "other.py").write_text('def test_a() -> None:\n    """K-07"""\n')
    assert checklist.named(tmp_path) == {"K-03": 2, "E-04": 1, "W-01": 1}
    missing = checklist.uncovered(tmp_path)
    assert "K-03" not in missing and {"K-01", "K-02", "K-05", "K-06", "K-07"} <= set(missing)
