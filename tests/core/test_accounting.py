"""Accounting rows add up, groups stay together, shards are stable."""

import subprocess

import pytest

from braing3n.core.accounting import assign_shard, check_accounting, check_groups, read_commit
from braing3n.core.errors import ContractError


def test_books_that_balance_pass_and_others_name_the_volume():
    check_accounting(["a", "b"], ["a"], ["b"], "here")
    with pytest.raises(ContractError, match="lost, the first is 'b'"):
        check_accounting(["a", "b"], ["a"], [], "here")
    with pytest.raises(ContractError, match="there twice, the first is 'a'"):
        check_accounting(["a"], ["a"], ["a"], "here")
    with pytest.raises(ContractError, match="never received, the first is 'c'"):
        check_accounting(["a"], ["a", "c"], [], "here")


def test_a_group_in_two_splits_is_an_error():
    check_groups(["g", "g"], ["train", "train"], "here")
    with pytest.raises(ContractError, match="'g'"):
        check_groups(["g", "g"], ["train", "test"], "here")


def test_shards_are_even_and_depend_on_the_id_alone():
    shards = [assign_shard("adni", f"{i:04d}", 10) for i in range(2000)]
    assert shards == [assign_shard("adni", f"{i:04d}", 10) for i in range(2000)]
    assert min(shards.count(n) for n in range(10)) > 150


def test_the_commit_is_found_in_a_clone_a_worktree_and_after_gc(tmp_path):
    def git(*words, folder=tmp_path / "one"):
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    (tmp_path / "one").mkdir()
    git("init", "-q", "-b", "main")
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    git(*identity, "commit", "-q", "--allow-empty", "-m", "First")
    git("worktree", "add", "-q", "-b", "side", str(tmp_path / "two"))
    commit = git("rev-parse", "HEAD")
    assert read_commit(tmp_path / "one") == read_commit(tmp_path / "two") == commit
    git("pack-refs", "--all")
    assert read_commit(tmp_path / "one") == read_commit(tmp_path / "two") == commit
    git("checkout", "-q", "--detach")
    assert read_commit(tmp_path / "one") == commit
    assert read_commit(tmp_path) == ""
