"""How much of its limits each key has used, and what a request that wants more is answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import ceil

from app.api.errors import ApiError
from app.api.gate.quota import Quota
from app.api.gate.token_bucket import TOLERANCE, Bucket

CONCURRENCY_RETRY_SECONDS = 1
"""A guess: nobody knows when an open request will end."""


class RateLimited(ApiError):
    """A 429 that names the limit reached. If `seconds` is None, waiting would not help."""

    def __init__(self, limit: str, message: str, seconds: float | None) -> None:
        super().__init__(
            429,
            message,
            code="rate_limit_exceeded",
            limit=limit,
            retry_after=None if seconds is None else max(1, ceil(seconds)),
            is_permanent=seconds is None,
            cause=f"rate_limit_{limit}",
        )


class Account:
    """What one owner has used: a bucket for each limit per minute, and the number of open sequences."""

    def __init__(self) -> None:
        self.quota = Quota()
        self.buckets: dict[str, Bucket] = {}
        self.num_open = 0

    def adopt(self, quota: Quota, now: float) -> None:
        """Apply this quota from now on, without forgetting what has been used."""
        if quota == self.quota:
            return
        self.quota = quota
        limits = {"requests": quota.requests_per_minute, "tokens": quota.tokens_per_minute}
        before, self.buckets = self.buckets, {}
        for name, per_minute in limits.items():
            if per_minute is not None:
                bucket = self.buckets[name] = before.get(name) or Bucket(per_minute, now)
                bucket.resize(per_minute, now)


class Ticket:
    """What one request has taken from its owner's account. It is settled as soon as it is known what was used."""

    def __init__(self, owner: str, account: Account, limiter: Limiter) -> None:
        self._owner = owner
        self._account = account
        self._limiter = limiter
        self._taken = Counter[str]()
        self._num_places = 0

    @property
    def tokens_per_minute(self) -> int | None:
        """The most tokens that a single request can have; None means unlimited."""
        return self._account.quota.tokens_per_minute

    def begin(self) -> None:
        """Take one place and one request. Raises RateLimited, also if more tokens were used than there were."""
        self._check_places(1)
        self._check("requests", 1)
        self._check("tokens", 1)
        self._take("requests", 1)
        self._take_places(1)

    def reserve(self, num_sequences: int, num_tokens: int, hint: str = "") -> None:
        """Take a place for each sequence and all tokens that they may use. Raises RateLimited, with `hint` appended to
        what it says about tokens; then nothing more is taken.
        """
        self._check_places(num_sequences)
        self._check("tokens", num_tokens, hint)
        self._take_places(num_sequences)
        self._take("tokens", num_tokens)

    def settle(self, num_tokens: int, *, counts: bool) -> None:
        """Replace the reservation by the tokens really used, more or fewer, and count the request only if it counts."""
        self._take("tokens", num_tokens - self._taken["tokens"])
        self._take("requests", counts - self._taken["requests"])

    def close(self) -> None:
        """Give the places back."""
        self._take_places(0)

    def headers(self) -> dict[str, str]:
        """How much is left of each limit per minute, and when all of it will be available again."""
        now = self._limiter.clock()
        headers = {}
        for name, bucket in self._account.buckets.items():
            headers[f"x-ratelimit-limit-{name}"] = str(bucket.per_minute)
            headers[f"x-ratelimit-remaining-{name}"] = str(_whole(bucket.level(now)))
            headers[f"x-ratelimit-reset-{name}"] = duration(bucket.seconds_until(bucket.per_minute, now))
        return headers

    def _take(self, name: str, amount: int) -> None:
        self._taken[name] += amount
        if name in self._account.buckets:
            self._account.buckets[name].take(amount, self._limiter.clock())

    def _take_places(self, num_places: int) -> None:
        """Hold exactly this many."""
        self._account.num_open += num_places - self._num_places
        self._num_places = num_places

    def _check_places(self, num_places: int) -> None:
        limit, num_others = self._account.quota.concurrent_requests, self._account.num_open - self._num_places
        if limit is None or num_others + num_places <= limit:
            return
        name, reason = "concurrent_requests", f"limit {limit}, open {num_others}, requested {num_places}. "
        if num_places > limit:
            reason += "Waiting does not help; ask for fewer choices or prompts at once."
            raise self._refused(name, name, reason, None)
        reason += "Try again when others have ended."
        raise self._refused(name, name, reason, CONCURRENCY_RETRY_SECONDS)

    def _check(self, name: str, amount: int, hint: str = "") -> None:
        bucket = self._account.buckets.get(name)
        if bucket is None:
            return
        now, setting, limit = self._limiter.clock(), f"{name}_per_minute", f"limit {bucket.per_minute}"
        if amount > bucket.per_minute:
            reason = f"{limit}, requested {amount}. Waiting does not help; the request must be smaller.{hint}"
            raise self._refused(name, setting, reason, None)
        if seconds := bucket.seconds_until(amount, now):
            left = f"remaining {_whole(bucket.level(now))}, requested {amount}"
            raise self._refused(name, setting, f"{limit}, {left}. Try again in {duration(seconds)}.{hint}", seconds)

    def _refused(self, limit: str, setting: str, reason: str, seconds: float | None) -> RateLimited:
        """`setting` is what the limit is called in the settings and in the file of keys."""
        self._limiter.on_refused(limit, self._owner)
        whose = f" for '{self._owner}'" if self._owner else ""
        return RateLimited(limit, f"Rate limit reached{whose} on {setting}: {reason}", seconds)


class Limiter:
    """The accounts of all owners. `quota_of` is asked for each request, and `on_refused` is called with the limit and
    the owner of each refusal.

    `clock` gives seconds. Names of keys are the operator's, so there are never more accounts than names.
    """

    def __init__(
        self, quota_of: Callable[[str], Quota], clock: Callable[[], float], on_refused: Callable[[str, str], None]
    ) -> None:
        self.clock = clock
        self.on_refused = on_refused
        self._quota_of = quota_of
        self._accounts: dict[str, Account] = {}

    def ticket(self, owner: str) -> Ticket:
        """A ticket for one request of `owner`, on which nothing is taken yet."""
        account = self._accounts.setdefault(owner, Account())
        account.adopt(self._quota_of(owner), self.clock())
        return Ticket(owner, account, self)


def _whole(level: float) -> int:
    return max(0, int(level + TOLERANCE))


def duration(seconds: float) -> str:
    """Seconds as OpenAI writes them: `6m0s`, `1.5s`, `20ms`; rounded up, since less would be too early."""
    milliseconds = ceil(seconds * 1000 - TOLERANCE)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes}m{rest / 1000:g}s" if minutes else f"{rest / 1000:g}s"
