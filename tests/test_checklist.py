"""Every requirement of the protocol that concerns the client is named by a test."""

from __future__ import annotations

from pathlib import Path

from tests import checklist


def test_nothing_is_uncovered() -> None:
    """Each requirement has a test, or a reason why it needs none."""
    assert checklist.uncovered(Path(__file__).parent) == []
    assert all(checklist.LEFT_OUT.values())


def test_no_test_names_what_does_not_exist() -> None:
    """An ID that is not on the list is a slip of the pen, and would hide that the right one is not named."""
    assert set(checklist.named(Path(__file__).parent)) <= {*checklist.REQUIRED, *checklist.LEFT_OUT}


def test_what_is_counted(tmp_path: Path) -> None:
    """Only docstrings of tests count, as far as the first colon: neither comments, nor other functions, nor other
    files, nor tests of the server.
    """
    (tmp_path / "test_one.py").write_text(
        '"""K-01"""\n# K-02\ndef test_a() -> None:\n    """K-03, E-04: not K-06."""\n'
        'def b() -> None:\n    """K-05"""\n'
        'class TestC:\n    """W-01: x."""\n'
        '    def test_d(self) -> None:\n        """K-03 again, XK-06, K-071, X1, X18-2, PX-3, X2a, V26-13: x."""\n'
    )
    (tmp_path / "other.py").write_text('def test_a() -> None:\n    """K-07"""\n')
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "test_two.py").write_text('def test_a() -> None:\n    """K-08: x."""\n')
    assert checklist.named(tmp_path) == {"K-03": 2, "E-04": 1, "W-01": 1, "X1": 1, "V26-13": 1}
    missing = checklist.uncovered(tmp_path)
    assert "K-03" not in missing and {"K-01", "K-02", "K-05", "K-06", "K-07", "K-08"} <= set(missing)
