"""The documents of `app/web` in a real browser. All of these tests, and the servers they talk to, share one loop: each
module says so with `pytestmark = pytest.mark.asyncio(loop_scope="package")`.
"""
